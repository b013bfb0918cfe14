"""Which sources of features there are, and which of them a run has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..classes.model import ClassModel
from ..classes.schema import FeatureBlock, own_block
from ..errors import SettingsError
from ..models.masks import MaskModel
from ..progress import Progress
from ..scenes.scene import Scene
from ..settings import FEATURES, ModelSettings
from ..settings.features import RASTER, split_features, split_raster
from .bands import BandsSource, open_bands
from .raster import RasterSource, open_source, require_names
from .sources import EmbeddingSource, FeatureSource, blocks_of


def choose_sources(
    settings: ModelSettings,
    model: MaskModel,
    scenes: Sequence[Scene],
    classes: ClassModel | None = None,
    present: Sequence[FeatureBlock] = (),
) -> tuple[FeatureSource, ...]:
    """Make the sources of features that a run has, in the order of their columns.

    Parameters
    ----------
    settings : ModelSettings
    model : MaskModel
    scenes : sequence of Scene
        One or more.
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
        If a block is of another mask model, there is none of its name, or a raster is missing.
    SceneError
        If a raster cannot be used.
    ModelError
        If the classes were made with other blocks.
    """
    known = present if classes is None else classes.schema.blocks
    blocks = _choose_blocks(settings, model, [block.name for block in known])
    opened = [open_bands(scenes) if block == "bands" else block for block in blocks]
    sources = load_features(opened, settings, model)
    if classes is not None:
        classes.schema.require(blocks_of(sources))
    return sources


def _choose_blocks(
    settings: ModelSettings, model: MaskModel, known: Sequence[str]
) -> tuple[str | FeatureSource, ...]:
    """Return the blocks to use in the order of their columns, rasters opened."""
    own = own_block(model.name)
    words = split_features(settings.features, FEATURES)
    rasters = [open_source(*split_raster(word)) for word in words if word.startswith(RASTER)]
    rasters.sort(key=lambda source: source.name)
    require_names(rasters)
    names = {word for word in words if not word.startswith(RASTER)}
    if "auto" in names:
        usual = (own, "cnn") if own == "texture" else (own,)
        names |= {name for name in known or usual if not name.startswith(RASTER)}
        _require_rasters(known, rasters)
    elif "sam" in names and own != "sam":
        raise SettingsError(
            f"`features` {settings.features!r} needs SAM's embedding, and the mask model is"
            f" {model.name!r}; leave out sam, or name a SAM model with `model`",
            code="settings.features",
            setting="features",
            found=settings.features,
        )
    order = FEATURES if own in FEATURES else (own, *FEATURES)
    later = sorted(names.difference(order, {"auto"}))  # of a version to come: refused by its name
    return (*(name for name in order if name in names), *later, *rasters)


def _require_rasters(known: Sequence[str], rasters: Sequence[RasterSource]) -> None:
    """Refuse to go on without a raster that was used: where it lies is not known."""
    given = {source.name for source in rasters}
    for name in known:
        if name.startswith(RASTER) and name not in given:
            raise SettingsError(
                f"the classes are told apart by {name!r} too; say in `features` which file it is"
                f" here, as in `features=auto+{name}=FILE`",
                code="settings.features",
                setting="features",
                found=name,
            )


def load_features(
    blocks: Sequence[str | FeatureSource], settings: ModelSettings, model: MaskModel
) -> tuple[FeatureSource, ...]:
    """Make the sources of blocks; large libraries are imported only when they describe masks.

    Parameters
    ----------
    blocks : sequence of str or FeatureSource
        Names, or the sources themselves, in the order of the columns.
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
    return tuple(
        _load(block, settings, model) if isinstance(block, str) else block for block in blocks
    )


def travelling(sources: Sequence[FeatureSource]) -> tuple[str | FeatureSource, ...]:
    """Return blocks as other processes get them: names, or, where they are light, themselves.

    Parameters
    ----------
    sources : sequence of FeatureSource
    """
    moving = [
        source.anchored() if isinstance(source, RasterSource) else source for source in sources
    ]
    return tuple(
        source if isinstance(source, RasterSource | BandsSource) else source.name
        for source in moving
    )


def contents_of(sources: Sequence[FeatureSource]) -> dict[str, str]:
    """Return what tells the content of each raster from another, by name."""
    return {source.name: source.content for source in sources if isinstance(source, RasterSource)}


def lay_over(sources: Sequence[FeatureSource], scenes: Iterable[Scene], progress: Progress) -> None:
    """Tell how rasters cover scenes, and which bands of them count.

    Parameters
    ----------
    sources : sequence of FeatureSource
    scenes : iterable of Scene
    progress : Progress

    Raises
    ------
    SceneError
        If a raster covers nothing of a scene.
    """
    for scene in scenes:
        for source in sources:
            if isinstance(source, RasterSource):
                source.lay_over(scene, progress)
            elif isinstance(source, BandsSource):
                source.tell(scene, progress)


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
    if name in ("dinov2-s", "dinov2-b"):
        from .dinov2 import DinoSource

        return DinoSource(name, settings.device, settings.precision)
    raise SettingsError(
        f"there are no features {name!r}; known: {', '.join(FEATURES)}, raster:FILE",
        code="settings.features",
        setting="features",
        found=name,
        allowed=list(FEATURES),
    )
