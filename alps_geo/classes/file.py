"""The file of a class model: safetensors whose header holds one JSON text; nothing is executed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_safetensors

from .._files import replacing
from ..errors import ModelError, OutputError
from ..settings.options import AnyPath

FILE_NAME = "classes.safetensors"
FORMAT = "alps-geo class model"
#: The newest version; pseudo-classes that were never split, nor reject anything, are written as the
#: one before, which has neither.
VERSION, VERSION_WITHOUT_SPLITS = 4, 3
# safetensors writes several metadata entries in an order that varies; one is always the same.
_KEY = "alps_geo"

Tensors = Mapping[str, NDArray[Any]]


def write(path: Path, header: Mapping[str, Any], tensors: Tensors, version: int = VERSION) -> None:
    """Write a file whole or not at all; the same content gives the same bytes.

    Parameters
    ----------
    path : Path
    header : mapping
        JSON values; format, version and checksum are added.
    tensors : mapping of str to ndarray
    version : int
        The lowest that knows all of this, so that earlier programs read what they can.

    Raises
    ------
    OutputError
        If it cannot be written; an older file is then still there.
    """
    arrays = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    signed = {**header, "format": FORMAT, "version": version}
    signed["sha256"] = _digest(signed, arrays)
    content = to_safetensors(arrays, {_KEY: _to_json(signed)})
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OutputError as error:
        place = str(error).removeprefix("cannot write ")
        raise OutputError(
            f"cannot write the class model {place}; choose a folder that you may write to, on a"
            " disk with room"
        ) from error


def find(path: AnyPath) -> Path:
    """Return the file itself where `path` is the folder of a run."""
    path = Path(path)
    return path / FILE_NAME if path.is_dir() else path


def checksum(path: AnyPath) -> str:
    """Return what tells a file from another: its SHA-256."""
    return hashlib.sha256(find(path).read_bytes()).hexdigest()


def read(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read header and tensors, and check that they are as they were written.

    Raises
    ------
    ModelError
        If the file is missing, unreadable, damaged, no class model, or of a newer version.
    """
    if not path.is_file():
        raise ModelError(
            f"there is no class model {path}; give a {FILE_NAME}, or the folder of a finished run"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise ModelError(
            f"cannot read the class model {path}: {error}; check that you may read it"
        ) from error
    except SafetensorError as error:
        raise damaged(path, f"it is no whole safetensors file: {error}") from error
    return _check_header(path, text, tensors), tensors


def check_learned(tensors: Tensors, n_classes: int, n_features: int) -> Tensors:
    """Return what a model learned, and what files of earlier versions lack.

    Raises
    ------
    KeyError, ValueError
        If something is missing, of another type or shape, or not finite.
    """
    wanted = {
        "centers": (np.float64, (n_classes, n_features)),
        "counts": (np.int64, (n_classes,)),
        "class_of_center": (np.int32, (n_classes,)),
        "mean": (np.float64, (n_features,)),
        "scale": (np.float64, (n_features,)),
        "axes": (np.float64, (n_features, n_features)),
    }
    # Files of version 1 have no axes.
    tensors = {"axes": np.eye(n_features), **tensors}
    for name, (dtype, shape) in wanted.items():
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != shape:
            raise ValueError(f"{name} is {tensor.dtype} of shape {tensor.shape}")
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} is not finite")
    return tensors


def damaged(path: Path, reason: str) -> ModelError:
    """Return the error for a file whose content cannot be right."""
    first_line = reason.splitlines()[0]
    return ModelError(
        f"{path} is not a class model, or damaged ({first_line}); take another copy, or make it"
        " again with `classify()`"
    )


def _check_header(path: Path, text: str | None, tensors: Tensors) -> dict[str, Any]:
    if text is None:
        raise damaged(path, "it was written by another program")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise damaged(path, f"its header is no JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise damaged(path, "its header does not say that it is one")
    version = header.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ModelError(
            f"{path} was written by a newer alps-geo (format version {version}, this one reads up"
            f" to {VERSION}); upgrade alps-geo"
        )
    try:
        whole = header.pop("sha256", None) == _digest(header, tensors)
    except ValueError:  # numbers that JSON does not have, and this program never wrote
        whole = False
    if not whole:
        raise damaged(path, "its content does not match its checksum")
    return header


def _digest(header: Mapping[str, Any], tensors: Tensors) -> str:
    digest = hashlib.sha256(_to_json(header).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(tensors[name].tobytes())
    return digest.hexdigest()


def _to_json(header: Mapping[str, Any]) -> str:
    return json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
