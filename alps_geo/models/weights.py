"""Weights of mask models and of networks for features: which, where, and whether they are right.

Nothing here loads torch: a list of models or a checksum needs none. What is inside a file is the
business of `sam.checkpoint` and `dinov2`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from .._files import move_into_place, sha256_of
from ..errors import ModelError

#: Overrides the folder where weights lie.
FOLDER_VARIABLE = "ALPS_GEO_MODELS"
_META = "https://dl.fbaipublicfiles.com"
#: What weights are for: to find masks, or to describe them.
MASKS, FEATURES = "masks", "features"


@dataclass(frozen=True)
class KnownModel:
    """Weights that their authors publish.

    Attributes
    ----------
    name : str
        What the user calls the model.
    url : str
        Where its file is; the last part is the file's name.
    size : int
        In bytes.
    sha256 : str
        Checksum of the file, in hexadecimal digits.
    licence : str
        SPDX identifier.
    package : str
        What must be installed beside this one to run the model; empty where nothing.
    kind : str
        `masks` or `features`.
    """

    name: str
    url: str
    size: int
    sha256: str
    licence: str
    package: str = ""
    kind: str = MASKS

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.url.rsplit("/", 1)[-1]


#: Mask models from the smallest to the largest, in which order `auto` prefers them on a CPU; then
#: networks for features.
KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        "mobile-sam",
        "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        40_728_226,
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        "Apache-2.0",
        "timm",
    ),
    KnownModel(
        "sam-vit-b",
        f"{_META}/segment_anything/sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        "Apache-2.0",
    ),
    KnownModel(
        "sam-vit-l",
        f"{_META}/segment_anything/sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        "Apache-2.0",
    ),
    KnownModel(
        "sam-vit-h",
        f"{_META}/segment_anything/sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        "Apache-2.0",
    ),
    KnownModel(
        "dinov2-s",
        f"{_META}/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
        88_283_115,
        "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
        "Apache-2.0",
        "timm",
        FEATURES,
    ),
    KnownModel(
        "dinov2-b",
        f"{_META}/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
        346_378_731,
        "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
        "Apache-2.0",
        "timm",
        FEATURES,
    ),
)


@dataclass(frozen=True)
class Installed:
    """Weights that lie in the folder.

    Attributes
    ----------
    name : str
        What the user calls the model.
    path : Path
    sha256 : str or None
        What the file's checksum should be; None where nothing says so.
    kind : str
        `masks` or `features`.
    """

    name: str
    path: Path
    sha256: str | None
    kind: str = MASKS


def folder() -> Path:
    """Return the folder where weights lie; it need not exist."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("alps-geo")) / "models"


def installed(kind: str | None = None) -> list[Installed]:
    """Return the weights in the folder: known ones from small to large, then others by name.

    Parameters
    ----------
    kind : str, optional
        `masks` or `features`, for these only.
    """
    place = folder()
    found = [
        Installed(known.name, place / known.file, known.sha256, known.kind)
        for known in KNOWN
        if (place / known.file).is_file()
    ]
    names = {item.name for item in found}
    order = {known.name: rank for rank, known in enumerate(KNOWN)}
    official = {known.file for known in KNOWN}
    added = [
        Installed(path.stem, path, _noted_checksum(path), _kind_of(path.stem))
        for path in (place.glob("*.pth") if place.is_dir() else ())
        if path.name not in official and path.stem not in names
    ]
    every = sorted(found + added, key=lambda item: (order.get(item.name, len(order)), item.name))
    return [item for item in every if kind in (None, item.kind)]


def runnable() -> list[Installed]:
    """Return the mask models that `auto` may take: their packages are there too."""
    return [item for item in installed(MASKS) if not missing_package(item.name)]


def missing_package(name: str) -> str:
    """Return the package that a model needs and that is not installed; empty where none is."""
    package = next((known.package for known in KNOWN if known.name == name), "")
    return package if package and importlib.util.find_spec(package) is None else ""


def find(name: str) -> Installed | None:
    """Return the installed weights of a model, None where there are none."""
    return next((item for item in installed() if item.name == name), None)


def known_model(name: str) -> KnownModel:
    """Return what is known of a model by its name.

    Raises
    ------
    ModelError
        If no model of that name is known.
    """
    for known in KNOWN:
        if known.name == name:
            return known
    names = ", ".join(known.name for known in KNOWN)
    raise ModelError(f"no known model is called {name!r}; known: {names}")


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _noted_checksum(path: Path) -> str | None:
    note = _note_of(path)
    return note.read_text().strip() if note.is_file() else None


def add(path: Path) -> Installed:
    """Copy a checkpoint file into the folder of weights, under the name of what it holds.

    Raises
    ------
    ModelError
        If nothing here can use it, a model of its name is installed, or it cannot be copied.
    """
    # Imported here because only this needs torch.
    from . import dinov2
    from .sam import checkpoint

    state = checkpoint.read_state(path)
    name = dinov2.recognise(state) or checkpoint.recognise(state, path).name
    present = find(name)
    if present is not None:
        raise ModelError(
            f"{name} is installed already, from {present.path}; run"
            f" `remove({name})` first{_as_checkpoint(present.kind)}"
        )
    checksum = sha256_of(path)
    official = next((known.file for known in KNOWN if known.sha256 == checksum), None)
    target = folder() / (official or f"{name}.pth")
    partial = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, partial)
        if official is None:
            _note_of(target).write_text(f"{checksum}\n")
        move_into_place(partial, target)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror or error}") from error
    return Installed(name, target, checksum, _kind_of(name))


def _kind_of(name: str) -> str:
    return next((known.kind for known in KNOWN if known.name == name), MASKS)


def _as_checkpoint(kind: str) -> str:
    return ", or use the file as `checkpoint`" if kind == MASKS else ""


def verify(name: str) -> Installed:
    """Check that installed weights are what they should be.

    Raises
    ------
    ModelError
        If they are not installed, or the file's checksum is another.
    """
    item = require(name)
    if item.sha256 is not None and sha256_of(item.path) != item.sha256:
        raise ModelError(
            f"{item.path} is damaged: its checksum is not that of {name}; run"
            f" `remove({name})` and install it again"
        )
    return item


def remove(name: str) -> Path:
    """Delete installed weights; return the file they were.

    Raises
    ------
    ModelError
        If they are not installed, or cannot be deleted.
    """
    item = require(name)
    try:
        item.path.unlink()
        _note_of(item.path).unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{item.path} cannot be deleted: {error.strerror or error}") from error
    return item.path


def require_file(path: Path) -> None:
    """Refuse a checkpoint file that is not there.

    Raises
    ------
    ModelError
        If it is not.
    """
    if not path.is_file():
        raise ModelError(
            f"there is no checkpoint file {path}", code="model.no_file", path=str(path)
        )


def require(name: str) -> Installed:
    """Return the installed weights of a model.

    Raises
    ------
    ModelError
        If there are none.
    """
    item = find(name)
    if item is None:
        raise ModelError(
            f"the weights of {name} are not installed; run `download({name})`"
            + (", or give the file as `checkpoint`" if _kind_of(name) == MASKS else ""),
            code="model.not_installed",
            model=name,
        )
    return item
