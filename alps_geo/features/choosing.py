"""Which sources of features there are, and which of them a run has."""

from __future__ import annotations

from collections.abc import Sequence

from ..classes.model import ClassModel
from ..classes.schema import FeatureBlock, own_block
from ..errors import SettingsError
from ..models.masks import MaskModel
from ..settings import FEATURES, ModelSettings
from .sources import EmbeddingSource, FeatureSource, blocks_of


def choose_sources(
    settings: ModelSettings,
    model: MaskModel,
    classes: ClassModel | None = None,
    present: Sequence[FeatureBlock] = (),
) -> tuple[FeatureSource, ...]:
    """Make the sources of features that a run has, in the order of their columns.

    Parameters
    ----------
    settings : ModelSettings
    model : MaskModel
    classes : ClassModel, optional
        To be applied: `auto` means its blocks.
    present : sequence of FeatureBlock
        Of the run that goes on: what `auto` means where no classes are given.

    Returns
    -------
    tuple of FeatureSource

    Raises
    ------
    SettingsError
        If a block is of another mask model, or there is none of its name.
    ModelError
        If the classes were made with other blocks.
    """
    known = present if classes is None else classes.schema.blocks
    names = _choose_names(settings, model, [block.name for block in known])
    sources = load_features(names, settings, model)
    if classes is not None:
        classes.schema.require(blocks_of(sources))
    return sources


def _choose_names(
    settings: ModelSettings, model: MaskModel, known: Sequence[str]
) -> tuple[str, ...]:
    own = own_block(model.name)
    if settings.features == "auto":
        return tuple(known) or ((own, "cnn") if own == "texture" else (own,))
    names = settings.features.split("+")
    if "sam" in names and own != "sam":
        raise SettingsError(
            f"`features` {settings.features!r} needs SAM's embedding, and the mask model is"
            f" {model.name!r}; leave out sam, or name a SAM model with `model`",
            code="settings.features",
            setting="features",
            found=settings.features,
        )
    return tuple(name for name in FEATURES if name in names)


def load_features(
    names: Sequence[str], settings: ModelSettings, model: MaskModel
) -> tuple[FeatureSource, ...]:
    """Make the sources of blocks; large libraries are imported only when they describe masks.

    Parameters
    ----------
    names : sequence of str
        In the order of the columns.
    settings : ModelSettings
    model : MaskModel

    Returns
    -------
    tuple of FeatureSource

    Raises
    ------
    SettingsError
        If there is no such block.
    """
    return tuple(_load(name, settings, model) for name in names)


def _load(name: str, settings: ModelSettings, model: MaskModel) -> FeatureSource:
    if name == own_block(model.name):
        return EmbeddingSource(model)
    if name == "texture":
        from .texture import TextureSource

        return TextureSource()
    if name == "cnn":
        from .cnn import CnnSource

        # The built-in model runs on the CPU; beside it a GPU gains little, and takes long to start.
        stays = settings.device == "auto" and own_block(model.name) != "sam"
        return CnnSource("cpu" if stays else settings.device)
    raise SettingsError(
        f"there are no features {name!r}; known: {', '.join(FEATURES)}",
        code="settings.features",
        setting="features",
        found=name,
        allowed=list(FEATURES),
    )
