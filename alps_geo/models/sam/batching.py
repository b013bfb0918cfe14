"""How many prompts run at once, and how that number gives way when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from ...errors import ModelError

Result = TypeVar("Result")


class BatchSize:
    """A number of prompts that halves, for good, whenever memory runs out.

    Parameters
    ----------
    size : int
    device : torch.device
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self._device = device

    @classmethod
    def start(cls, wanted: int, device: torch.device, *, on_cpu: int) -> BatchSize:
        """Begin with what is wanted, on a CPU with no more than it has cache for."""
        most = on_cpu if device.type == "cpu" else wanted
        return cls(max(1, min(most, wanted)), device)

    def run(self, work: Callable[[int], Result]) -> Result:
        """Do work that takes a batch size, again with half of it while memory runs out.

        Raises
        ------
        ModelError
            If there is not enough memory for a single prompt.
        """
        while True:
            try:
                return work(self.size)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.size == 1:
                    raise ModelError(
                        f"{self._device} has not enough memory for SAM; choose a smaller model,"
                        " another `device`, or free memory"
                    ) from error
            # Outside of the handler: the error's traceback holds on to the tensors.
            self.size //= 2
            if self._device.type == "cuda":
                torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text
