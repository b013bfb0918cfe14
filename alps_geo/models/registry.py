"""Which mask models there are: `load_model` makes the one that a name stands for.

Torch is imported only when a SAM model is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..progress import Notice, Progress
from ..settings import GateSettings, ModelSettings, Settings
from . import weights

if TYPE_CHECKING:
    # Only a name here: the commands ask this package for weights and must start without NumPy.
    from .masks import MaskModel

__all__ = ["check_model", "load_model", "model_names"]

#: The fake answers to its name for tests of whole commands; it is in no list.
_WITHOUT_WEIGHTS = ("builtin", "fake")


def model_names() -> list[str]:
    """Return every name that `load_model` takes, the installed weights of others included."""
    known = [model.name for model in weights.KNOWN if model.kind == weights.MASKS]
    names = ["auto", "builtin", *known]
    return names + [
        item.name for item in weights.installed(weights.MASKS) if item.name not in names
    ]


def load_model(settings: Settings, progress: Progress) -> MaskModel:
    """Make the mask model that the settings name.

    Parameters
    ----------
    settings : Settings
        Of which `model`, `gate` and `sam` count.
    progress : Progress
        Is told which model and which device were chosen.

    Raises
    ------
    SettingsError
        If no model has that name, or a checkpoint is given to a model without weights.
    ModelError
        If weights are not installed, damaged, or of another model; if the device is not there.
    """
    chosen = settings.model
    check_model(chosen)
    if chosen.name in _WITHOUT_WEIGHTS:
        return _without_weights(chosen.name, settings.gate)
    if chosen.name == "auto" and chosen.checkpoint is None and not weights.runnable():
        progress.message(Notice(_why_builtin(), code="model.builtin", model="builtin"))
        return _without_weights("builtin", settings.gate)
    return _sam(settings, progress)


def check_model(settings: ModelSettings) -> None:
    """Refuse a mask model that cannot be loaded, before anything large is imported for it.

    Raises
    ------
    SettingsError, ModelError
        As of `load_model`, as far as names and files tell.
    """
    if settings.name not in (*model_names(), *_WITHOUT_WEIGHTS):
        raise SettingsError(
            f"there is no mask model {settings.name!r}; known: {', '.join(model_names())}",
            code="settings.model",
            setting="model",
            found=settings.name,
            allowed=list(model_names()),
        )
    if settings.checkpoint is not None:
        if settings.name in _WITHOUT_WEIGHTS:
            raise SettingsError(
                "`checkpoint` needs a SAM model: leave out `model`, or name a sam model",
                code="settings.checkpoint",
                setting="checkpoint",
                found=settings.checkpoint,
            )
        weights.require_file(Path(settings.checkpoint))
    elif settings.name not in ("auto", *_WITHOUT_WEIGHTS):
        weights.require(settings.name)


def _why_builtin() -> str:
    """Say why `auto` takes the built-in model, and what brings a SAM model."""
    for item in weights.installed(weights.MASKS):
        package = weights.missing_package(item.name)
        return (
            f"{item.name} is installed, but not the package {package} that it needs (pip install"
            f" {package}): using the built-in mask model"
        )
    return (
        "no SAM checkpoint is installed: using the built-in mask model; for SAM run"
        " `download(sam-vit-b)`"
    )


def _without_weights(name: str, gate: GateSettings) -> MaskModel:
    # Imported here because `alps-geo models` and every `--help` start without NumPy.
    from .builtin.model import BuiltinModel
    from .fake import FakeModel

    return FakeModel() if name == "fake" else BuiltinModel(gate)


def _sam(settings: Settings, progress: Progress) -> MaskModel:
    # Imported here because torch takes seconds, and the built-in model needs none of it.
    from .compilation import cache_note
    from .device import choose_weights, pick_device
    from .sam.model import SamModel

    chosen = settings.model
    device, reason = pick_device(chosen.device)
    progress.message(reason)
    name = None if chosen.name == "auto" else chosen.name
    if chosen.checkpoint is not None:
        path = Path(chosen.checkpoint)
    else:
        found, why = choose_weights(name, device)
        path, name = found.path, found.name
        if why:
            progress.message(why)
    note = cache_note()
    if note:
        progress.message(note)
    return SamModel.load(
        path,
        settings.sam,
        name=name,
        device=device,
        feature_mode=chosen.feature_mode,
        precision=chosen.precision,
    )
