"""Which mask models there are: `load_model` makes the one that a name stands for.

Torch is imported only when a SAM model is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError
from ..progress import Notice, Progress
from ..settings import MaskSettings, ModelSettings
from . import weights

if TYPE_CHECKING:
    # Only a name here: the commands ask this package for weights and must start without NumPy.
    from .masks import MaskModel

__all__ = ["check_model", "load_model", "model_names"]

#: The fake answers to its name for tests of whole commands; it is in no list.
_WITHOUT_WEIGHTS = ("builtin", "fake")


def model_names() -> list[str]:
    """Return every name that `load_model` takes, the installed weights of others included."""
    names = ["auto", "builtin", *(known.name for known in weights.KNOWN)]
    return names + [item.name for item in weights.installed() if item.name not in names]


def load_model(settings: ModelSettings, masks: MaskSettings, progress: Progress) -> MaskModel:
    """Make the mask model that the settings name.

    Parameters
    ----------
    settings : ModelSettings
    masks : MaskSettings
        Which masks SAM makes and keeps.
    progress : Progress
        Is told which model and which device were chosen.

    Raises
    ------
    SettingsError
        If no model has that name, or a checkpoint is given to a model without weights.
    ModelError
        If weights are not installed, damaged, or of another model; if the device is not there.
    """
    check_model(settings)
    if settings.model in _WITHOUT_WEIGHTS:
        return _without_weights(settings.model, masks)
    if settings.model == "auto" and settings.checkpoint is None and not weights.runnable():
        progress.message(Notice(_why_builtin(), code="model.builtin", model="builtin"))
        return _without_weights("builtin", masks)
    return _sam(settings, masks, progress)


def check_model(settings: ModelSettings) -> None:
    """Refuse a mask model that cannot be loaded, before anything large is imported for it.

    Raises
    ------
    SettingsError, ModelError
        As of `load_model`, as far as names and files tell.
    """
    if settings.model not in (*model_names(), *_WITHOUT_WEIGHTS):
        raise SettingsError(
            f"there is no mask model {settings.model!r}; known: {', '.join(model_names())}",
            code="settings.model",
            setting="model",
            found=settings.model,
            allowed=list(model_names()),
        )
    if settings.checkpoint is not None:
        if settings.model in _WITHOUT_WEIGHTS:
            raise SettingsError(
                "`checkpoint` needs a SAM model: leave out `model`, or name a sam model",
                code="settings.checkpoint",
                setting="checkpoint",
                found=settings.checkpoint,
            )
        weights.require_file(Path(settings.checkpoint))
    elif settings.model not in ("auto", *_WITHOUT_WEIGHTS):
        weights.require(settings.model)


def _why_builtin() -> str:
    """Say why `auto` takes the built-in model, and what brings a SAM model."""
    for item in weights.installed():
        package = weights.missing_package(item.name)
        return (
            f"{item.name} is installed, but not the package {package} that it needs (pip install"
            f" {package}): using the built-in mask model"
        )
    return (
        "no SAM checkpoint is installed: using the built-in mask model; for SAM run"
        " `download(sam-vit-b)`"
    )


def _without_weights(name: str, masks: MaskSettings) -> MaskModel:
    # Imported here because `alps-geo models` and every `--help` start without NumPy.
    from .builtin.model import BuiltinModel
    from .fake import FakeModel

    return FakeModel() if name == "fake" else BuiltinModel(masks)


def _sam(settings: ModelSettings, masks: MaskSettings, progress: Progress) -> MaskModel:
    # Imported here because torch takes seconds, and the built-in model needs none of it.
    from .compilation import cache_note
    from .device import choose_weights, pick_device
    from .sam.model import SamModel

    device, reason = pick_device(settings.device)
    progress.message(reason)
    name = None if settings.model == "auto" else settings.model
    if settings.checkpoint is not None:
        path = Path(settings.checkpoint)
    else:
        chosen, why = choose_weights(name, device)
        path, name = chosen.path, chosen.name
        if why:
            progress.message(why)
    note = cache_note()
    if note:
        progress.message(note)
    return SamModel.load(
        path,
        masks,
        name=name,
        device=device,
        feature_mode=settings.feature_mode,
        precision=settings.precision,
    )
