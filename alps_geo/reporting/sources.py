"""What a page is made of: a run's record, and what is known of its scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..scenes.grid import Grid
from ..scenes.scene import Scene

#: Height and width in pixels -> class ids of that many pixels, -1 where there is no label.
ReadLabels = Callable[[int, int], NDArray[np.int64]]


@dataclass(frozen=True)
class ClassSize:
    """What the segments of a class are together.

    Attributes
    ----------
    class_id, segments, area_px : int
    area_m2 : float or None
        None where areas are not known.
    confidence : float or None
        Mean over the pixels; None where not known.
    """

    class_id: int
    segments: int
    area_px: int
    area_m2: float | None
    confidence: float | None


@dataclass(frozen=True)
class Exemplar:
    """A segment that shows what its class is.

    Attributes
    ----------
    class_id : int
    kind : str
        See `alps_geo.classes.exemplars`.
    rank, segment_id : int
    confidence : float
    outline : shapely.MultiPolygon
        In ground coordinates.
    """

    class_id: int
    kind: str
    rank: int
    segment_id: int
    confidence: float
    outline: shapely.Geometry


@dataclass(frozen=True)
class SceneSource:
    """A scene of a run.

    Attributes
    ----------
    stem : str
    grid : Grid
        Of the labels.
    sizes : sequence of ClassSize
        Of the classes that have segments.
    exemplars : sequence of Exemplar
        By class, kind and rank.
    read_labels : callable
        Height and width -> class ids of a map of that size, -1 where there is no label.
    scene : Scene or None
        To read pictures from, with its stretch; None where it cannot be.
    """

    stem: str
    grid: Grid
    sizes: Sequence[ClassSize]
    exemplars: Sequence[Exemplar]
    read_labels: ReadLabels
    scene: Scene | None = None


@dataclass(frozen=True)
class Source:
    """A run.

    Attributes
    ----------
    record : mapping
        As in `run.json`.
    scenes : sequence of SceneSource
        In the record's order.
    evaluation : mapping, optional
        What `Evaluation.to_dict` gave.
    """

    record: Mapping[str, Any]
    scenes: Sequence[SceneSource]
    evaluation: Mapping[str, Any] | None = None

    @property
    def colors(self) -> dict[int, str]:
        """The colour of each class, by id."""
        return {item["id"]: item["color"] for item in self.record["classes"]}

    @property
    def names(self) -> dict[int, str]:
        """The name of each class, by id."""
        return {item["id"]: item["name"] for item in self.record["classes"]}
