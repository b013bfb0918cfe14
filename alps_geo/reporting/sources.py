"""What a page is made of: a run's record, and the results and pixels of its scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..outputs.summaries import ClassSize, Exemplar, read_exemplars, read_sizes
from ..scenes.grid import Grid
from ..scenes.scene import Scene


@dataclass(frozen=True)
class SceneSource:
    """A scene of a run.

    Attributes
    ----------
    stem : str
    grid : Grid
        Of the labels.
    labels, package : Path
    scene : Scene or None
        To read pictures from, with its stretch; None where it cannot be.
    """

    stem: str
    grid: Grid
    labels: Path
    package: Path
    scene: Scene | None = None

    @cached_property
    def sizes(self) -> list[ClassSize]:
        """The sizes of the classes that have segments."""
        return read_sizes(self.package)

    @cached_property
    def exemplars(self) -> list[Exemplar] | None:
        """The exemplars; None where an earlier version chose none."""
        return read_exemplars(self.package)


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
