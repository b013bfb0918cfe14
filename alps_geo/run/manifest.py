"""What identifies a run: all that its stored tiles depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..classes.schema import own_block
from ..features.choosing import contents_of
from ..features.sources import FeatureSource, blocks_of
from ..models.masks import MaskModel
from ..scenes.scene import Scene
from ..scenes.stretch import Stretch
from ..settings import Settings
from .record import describe_settings


def describe_run(
    scenes: Mapping[str, Scene],
    settings: Settings,
    model: MaskModel,
    sources: Sequence[FeatureSource],
    stretch: Stretch,
) -> dict[str, Any]:
    """Return all that the stored tiles depend on; of several differences the first is named."""
    chosen = describe_settings(settings)
    # The fingerprint has the area's polygons and the part's pixels; what they are called does not
    # matter. The grid tells whether it is the whole scene's.
    for name in ("aoi", "subdataset", "full_extent"):
        chosen["scene"].pop(name)
    # Scenes without blocks have no entry: their tiles are those of versions that knew of none.
    blocks = {stem: scene.blocks.to_dict() for stem, scene in scenes.items() if scene.blocks}
    # Nor have runs with the mask model's own features only.
    own = [source.name for source in sources] == [own_block(model.name)]
    features = [asdict(block) for block in blocks_of(sources)]
    rasters = contents_of(sources)
    return {
        "model": {
            "name": model.name,
            "checksum": model.checksum,
            "precision": settings.model.precision,
        },
        "settings": {name: chosen[name] for name in ("scene", "tiles", "masks")},
        "scenes": {
            stem: {"fingerprint": scene.fingerprint, "grid": scene.grid.to_json()}
            for stem, scene in scenes.items()
        },
        "stretch": stretch.to_dict(),
        **({"blocks": blocks} if blocks else {}),
        **({} if own else {"features": features}),
        **({"rasters": rasters} if rasters else {}),
    }
