"""Classes named, coloured, ordered, merged and split: each makes a changed copy of a model."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import SettingsError
from ..progress import Progress
from . import splits
from .legend import Legend
from .parts import find_parts
from .prediction import Prediction
from .sampling import Rows, Weighted, as_batches, weigh

if TYPE_CHECKING:
    from typing_extensions import Self


class Editable(ABC):
    """A model of classes that can be edited; see `ClassModel`."""

    cluster_centers_: Rows
    class_of_center_: NDArray[np.int32]
    legend_: Legend
    steps_: splits.Steps
    seed: int

    @abstractmethod
    def _legend(self) -> Legend:
        """Return the legend, or raise `ModelError` where there are no classes yet."""

    @abstractmethod
    def assign(self, X: ArrayLike) -> Prediction:
        """Find the class of each segment."""

    @abstractmethod
    def transform(self, X: ArrayLike) -> Rows:
        """Return features as centres have them."""

    @abstractmethod
    def _follow_ids(self, new_ids: Mapping[int, int]) -> None:
        """Change the ids of what else has some, where others were given to centres."""

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The ids of the classes there are, ascending."""
        return self._legend().ids

    @property
    def names(self) -> dict[int, str]:
        """The name of each class, by id."""
        return self._legend().names

    @property
    def colors(self) -> dict[int, str]:
        """The colour of each class as `#rrggbb`, by id."""
        return self._legend().colors

    def order_by_area(self, areas: Sequence[float] | NDArray[np.generic]) -> Self:
        """Return the model with ids by size: 0 is the largest class, ties keep their order.

        Parameters
        ----------
        areas : array, indexed by class id
            In any unit; classes past its end have none.
        """
        sizes = np.zeros(self._legend().size)
        sizes[: len(areas)] = areas
        largest_first = sorted(self.class_ids, key=lambda class_id: (-sizes[class_id], class_id))
        new_ids = dict(zip(largest_first, self.class_ids, strict=True))
        changed = self._with(
            self.legend_.renumber(new_ids), [new_ids[int(old)] for old in self.class_of_center_]
        )
        changed._follow_ids(new_ids)
        return changed

    def rename(self, names: Mapping[int, str]) -> Self:
        """Return the model with some classes called otherwise; `Legend` says what a name may be."""
        return self._with(self._legend().rename(names))

    def recolor(self, colors: Mapping[int, str]) -> Self:
        """Return the model with other colours, `#rrggbb`, for some classes."""
        return self._with(self._legend().recolor(colors))

    def describe(self, codes: Mapping[int, str], uris: Mapping[int, str]) -> Self:
        """Return the model with codes and URIs of a published legend for some classes."""
        return self._with(self._legend().describe(codes, uris))

    def merge(self, groups: Iterable[Sequence[int]]) -> Self:
        """Return the model with each group of classes made one, which keeps the first's id.

        Parameters
        ----------
        groups : iterable of sequences of int
            `[(4, 7)]`: class 7 becomes class 4; other ids stay.

        Raises
        ------
        SettingsError
            If an id is unknown, or named twice.
        """
        legend, owners, steps = self._legend(), self.class_of_center_.copy(), self.steps_
        new_ids = {class_id: class_id for class_id in legend.ids}
        for group in groups:
            legend.check_ids(group)
            if len(set(group)) != len(group) or len(group) < 2:
                listed = ",".join(map(str, group))
                raise SettingsError(f"a merge needs two or more different ids, not {listed}")
            for class_id in group[1:]:
                legend = legend.remove(class_id)
                if splits.is_plain(steps, (group[0], class_id)):
                    owners[owners == class_id] = group[0]
                    for old, new in new_ids.items():
                        new_ids[old] = group[0] if new == class_id else new
                else:
                    nothing = self.cluster_centers_[:0]
                    steps = (*steps, splits.Step(class_id, (group[0],), nothing))
        changed = self._with(legend, owners, steps)
        changed._follow_ids(new_ids)
        return changed

    def split(
        self,
        class_id: int,
        parts: int,
        X: ArrayLike | Sequence[NDArray[Any]],
        *,
        sample_weight: ArrayLike | Sequence[NDArray[Any]] | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Return the model with one class made several, by clustering its segments.

        Parameters
        ----------
        class_id : int
            The part of the largest area keeps it; other classes stay as they are.
        parts : int
            2 or more; those after the first get ids that no class ever had, larger ones first.
        X, sample_weight
            As of `fit`; segments of other classes do not count.
        progress : Progress, optional
            Is told of every pass.

        Raises
        ------
        SettingsError
            If there is no such class, or it has fewer different segments than parts.
        """
        legend = self._legend()
        legend.check_ids([class_id])
        batches = as_batches(X, 2)
        areas = None if sample_weight is None else as_batches(sample_weight, 1)
        members = [self.assign(batch).class_id == class_id for batch in batches]

        def rows() -> Iterator[Weighted]:
            """Begin a pass over the segments of the class."""
            for part, chosen in zip(weigh(batches, areas), members, strict=True):
                own = part.take(np.flatnonzero(chosen))
                yield Weighted(self.transform(own.rows), own.weights)

        pixels = [np.ones(len(batch)) for batch in batches] if areas is None else areas
        own_pixels = [area[chosen] for area, chosen in zip(pixels, members, strict=True)]
        centers = find_parts(rows, own_pixels, class_id, parts, self.seed, progress)
        ids = (class_id, *range(legend.size, legend.size + parts - 1))
        step = splits.Step(class_id, ids, centers)
        return self._with(legend.add(parts - 1), steps=(*self.steps_, step))

    def _with(
        self,
        legend: Legend,
        owners: Sequence[int] | NDArray[np.int32] = (),
        steps: splits.Steps | None = None,
    ) -> Self:
        changed = copy.copy(self)
        changed.legend_ = legend
        changed.steps_ = self.steps_ if steps is None else steps
        if len(owners):
            changed.class_of_center_ = np.asarray(owners, np.int32)
        return changed
