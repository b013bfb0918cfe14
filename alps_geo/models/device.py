"""Where SAM runs: the device, and what is said about the choice."""

from __future__ import annotations

import os

import torch

from ..errors import ModelError
from . import weights

_GIB = 1 << 30


def pick_device(wanted: str) -> tuple[torch.device, str]:
    """Choose the device to run on.

    Parameters
    ----------
    wanted : str
        `auto`, `cpu`, `cuda` or `mps`.

    Returns
    -------
    device : torch.device
    reason : str
        One sentence for the user: what was chosen, and why.

    Raises
    ------
    ModelError
        If the device asked for is not there.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "`device=cuda`: torch sees no CUDA GPU here; use `device=auto` or `device=cpu`"
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ModelError(
            "`device=mps`: torch has no Apple GPU here; use `device=auto` or `device=cpu`"
        )
    if wanted in ("auto", "cuda") and torch.cuda.is_available():
        index = _roomiest_gpu()
        free = torch.cuda.mem_get_info(index)[0] / _GIB
        name = torch.cuda.get_device_name(index)
        return torch.device(
            "cuda", index
        ), f"SAM runs on cuda:{index} ({name}, {free:.1f} GiB free)"
    if wanted in ("auto", "mps") and torch.backends.mps.is_available():
        return torch.device("mps"), "SAM runs on mps (Apple GPU)"
    reason = "no GPU was found" if wanted == "auto" else "as asked"
    return torch.device("cpu"), f"SAM runs on cpu ({torch.get_num_threads()} threads; {reason})"


def _roomiest_gpu() -> int:
    """Return the GPU with most free memory; workers that start together spread by process id."""
    count = torch.cuda.device_count()
    free = [torch.cuda.mem_get_info(index)[0] // _GIB for index in range(count)]
    roomy = [index for index in range(count) if free[index] >= max(free) - 1]
    return roomy[os.getpid() % len(roomy)]


def supports_bf16(device: torch.device) -> bool:
    """Tell whether bfloat16 arithmetic is faster than float32 on a device."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        features = torch.backends.cpu.get_cpu_capability()
        return "AVX512" in features and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return False


def choose_weights(name: str | None, device: torch.device) -> tuple[weights.Installed, str]:
    """Choose among the installed weights.

    Parameters
    ----------
    name : str or None
        The model asked for; None for the best: the largest that the GPU has room for, and the
        smallest where there is no GPU.
    device : torch.device

    Returns
    -------
    chosen : Installed
    reason : str
        One sentence for the user; empty where nothing was to be chosen.

    Raises
    ------
    ModelError
        If the weights asked for are not installed, or none that can run.
    """
    if name is not None:
        return weights.require(name), ""
    candidates = weights.runnable()
    if not candidates:
        raise ModelError("none of the SAM models installed can run here")
    if device.type == "cpu":
        return candidates[0], f"using {candidates[0].name}, the smallest SAM model installed"
    room = _free_memory(device)
    fitting = [item for item in candidates if _needed_memory(item) <= room]
    chosen = fitting[-1] if fitting else candidates[0]
    if chosen is candidates[-1]:
        return chosen, f"using {chosen.name}, the largest SAM model installed"
    return chosen, (
        f"using {chosen.name}: {candidates[-1].name} needs"
        f" {_needed_memory(candidates[-1]) / _GIB:.1f} GiB of GPU memory,"
        f" {room / _GIB:.1f} GiB are free"
    )


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(torch.mps.recommended_max_memory())


def _needed_memory(item: weights.Installed) -> int:
    # The weights, and about as much as one tile's activations and 64 prompts take.
    return item.path.stat().st_size + 3 * _GIB // 2
