"""Pseudo-classes: groups of like segments, found by online k-means and kept in a file.

A class model knows all that its ids depend on: the centres, the scaling and weights of the
features, the mask model they come from, and the stretch of the scenes. Names and colours
are in its `Legend`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError, SettingsError
from ..progress import Progress
from ..settings import ClassSettings
from . import file as classfile
from .clustering import cluster, margin, nearest, update_online
from .legend import Legend
from .sampling import BLOCK, Rows, Weighted, reblock, sketch, weigh
from .schema import FeatureBlock, FeatureSchema
from .whitening import choose_reach, compress, measure_axes, rotate

SAMPLE_SIZE = 20000
_LEARNED = {
    "centers": np.float64,
    "counts": np.int64,
    "class_of_center": np.int32,
    "mean": np.float64,
    "scale": np.float64,
    "axes": np.float64,
}


@dataclass(frozen=True)
class Prediction:
    """The classes of segments.

    Attributes
    ----------
    class_id : ndarray of uint16, shape (n_segments,)
    confidence : ndarray of float32, shape (n_segments,)
        1 - d1 / d2, where d1 is the distance to the nearest centre and d2 that to the nearest
        centre of another class: 0 halfway between two classes, 1 on a centre, 1 if there is
        one class only.
    """

    class_id: NDArray[np.uint16]
    confidence: NDArray[np.float32]


class ClassModel:
    """Groups segments into classes.

    `fit` and `partial_fit` learn and return the model itself; `order_by_area`, `rename`,
    `recolor` and `merge` return a changed copy.

    Parameters
    ----------
    settings : ClassSettings
        Number of classes and seed.
    schema : FeatureSchema

    Attributes
    ----------
    centers_ : ndarray of float64, shape (n_centers, n_features)
        In standardised, log-compressed, weighted, whitened features.
    counts_ : ndarray of int64, shape (n_centers,)
        Segments each centre was made from.
    class_of_center_ : ndarray of int32, shape (n_centers,)
    mean_, scale_ : ndarray of float64, shape (n_features,)
        What standardises features: (value - mean) / scale.
    reach_ : float
        Standard deviations beyond which values are log-compressed; infinite where none are.
    axes_ : ndarray of float64, shape (n_features, n_features)
        What whitens them then; see `whitening`.
    legend_ : Legend
    n_samples_ : int
    inertia_, n_passes_, settled_ : float, int, bool
        How the last `fit` ended; not kept in the file.
    """

    centers_: Rows
    counts_: NDArray[np.int64]
    class_of_center_: NDArray[np.int32]
    mean_: Rows
    scale_: Rows
    reach_: float
    axes_: Rows
    legend_: Legend
    n_samples_: int
    inertia_: float
    n_passes_: int
    settled_: bool

    def __init__(self, settings: ClassSettings, schema: FeatureSchema) -> None:
        self.settings = settings
        self.schema = schema
        self._waiting: list[NDArray[np.float32]] = []

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

    def fit(
        self,
        batches: Iterable[NDArray[np.float32]],
        progress: Progress | None = None,
        *,
        areas: Iterable[NDArray[np.integer]] | None = None,
    ) -> ClassModel:
        """Find classes in features that need not fit in memory.

        Parameters
        ----------
        batches : iterable of ndarray of float32, shape (n, n_features)
            Can be gone through again and again, always in the same order; where it is cut makes
            no difference.
        progress : Progress, optional
            Hears of every pass.
        areas : iterable of ndarray of int, shape (n,), optional
            Pixels of each segment, cut like the batches: small ones count less. All count alike
            where none are given.

        Raises
        ------
        SettingsError
            If there are fewer different segments than classes.
        ModelError
            If features are not finite or not as many as the schema names.
        """
        if any(given is not None and iter(given) is given for given in (batches, areas)):
            raise TypeError("batches and areas are gone through again; pass lists, not iterators")
        wanted, seed = self.settings.n_classes, self.settings.seed

        def segments() -> Iterator[Weighted]:
            """Begin a pass over all segments."""
            return weigh(self.schema.check(batches), areas)

        def transform(part: Weighted) -> Weighted:
            """Bring rows to where centres are."""
            return Weighted(self._transform(part.rows), part.weights)

        seen = sketch(segments(), max(10 * wanted, SAMPLE_SIZE), wanted, seed)
        found, distinct = (seen.count, seen.distinct) if seen else (0, 0)
        if seen is None or distinct < wanted:
            raise SettingsError(_too_few(wanted, found, distinct))
        self.mean_, self.scale_ = seen.mean, seen.scale
        self.reach_ = choose_reach(len(self.mean_))
        self.axes_ = measure_axes(self._standardise(seen.sample.rows), seed)
        self.n_samples_ = found

        def blocks() -> Iterator[Weighted]:
            """Begin a pass over what they became."""
            return map(transform, reblock(segments()))

        result = cluster(blocks, transform(seen.sample), wanted, seed, progress)
        self.centers_, self.counts_ = result.centers, result.counts
        self.class_of_center_ = np.arange(wanted, dtype=np.int32)
        self.legend_ = Legend(wanted, tuple(range(wanted)))
        self.inertia_, self.settled_ = result.inertia, result.settled
        self.n_passes_ = result.online_passes + result.exact_passes
        return self

    def partial_fit(self, features: NDArray[np.float32]) -> ClassModel:
        """Learn from some more segments, as they come (the paper's online k-means).

        A new model first gathers ten segments per class and fits those; from then on, scaling
        stays and centres move, all segments counting alike. Class ids, names and colours stay.

        Parameters
        ----------
        features : ndarray of float32, shape (n_segments, n_features)
        """
        (features,) = self.schema.check([features])
        if self._is_fitted:
            for start in range(0, len(features), BLOCK):
                rows = self._transform(features[start : start + BLOCK])
                self.centers_, self.counts_ = update_online(self.centers_, self.counts_, rows)
            self.n_samples_ += len(features)
            return self
        self._waiting.append(features.copy())
        if sum(map(len, self._waiting)) >= 10 * self.settings.n_classes:
            self.fit(self._waiting)
            self._waiting = []
        return self

    def predict(self, features: NDArray[np.float32]) -> Prediction:
        """Find the class of each segment; what a segment gets does not depend on the others.

        Parameters
        ----------
        features : ndarray of float32, shape (n_segments, n_features)

        Raises
        ------
        ModelError
            If features are not finite or not as many as the schema names.
        """
        self._legend()
        (features,) = self.schema.check([features])
        class_id = np.zeros(len(features), np.uint16)
        confidence = np.ones(len(features), np.float32)
        groups = self.class_of_center_
        for start in range(0, len(features), BLOCK):
            part = slice(start, start + BLOCK)
            rows = self._transform(features[part])
            index = nearest(rows, self.centers_)
            class_id[part] = groups[index]
            if len(self.class_ids) > 1:
                second = nearest(rows, self.centers_, groups, barred=groups[index])
                confidence[part] = margin(rows, self.centers_[index], self.centers_[second])
        return Prediction(class_id, confidence)

    def order_by_area(self, areas: Sequence[float] | NDArray[np.generic]) -> ClassModel:
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
        return self._with(
            self.legend_.renumber(new_ids), [new_ids[int(old)] for old in self.class_of_center_]
        )

    def rename(self, names: Mapping[int, str]) -> ClassModel:
        """Return the model with some classes called otherwise; `Legend` says what a name may be."""
        return self._with(self._legend().rename(names))

    def recolor(self, colors: Mapping[int, str]) -> ClassModel:
        """Return the model with other colours, `#rrggbb`, for some classes."""
        return self._with(self._legend().recolor(colors))

    def merge(self, groups: Iterable[Sequence[int]]) -> ClassModel:
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
        legend, owners = self._legend(), self.class_of_center_.copy()
        for group in groups:
            legend.check_ids(group)
            if len(set(group)) != len(group) or len(group) < 2:
                listed = ",".join(map(str, group))
                raise SettingsError(f"a merge needs two or more different ids, not {listed}")
            for class_id in group[1:]:
                legend = legend.remove(class_id)
                owners[owners == class_id] = group[0]
        return self._with(legend, owners)

    def require_model(self, name: str, checksum: str) -> None:
        """Raise `ModelError` unless the classes were made with this very mask model."""
        schema = self.schema
        if schema.model != name:
            raise ModelError(
                f"the class model was made with mask model {schema.model!r}, not {name!r}; use"
                f" `model={schema.model}`, or make new classes"
            )
        if schema.checksum != checksum:
            raise ModelError(
                f"the class model was made with another version of mask model {name!r} (checksum"
                f" {schema.checksum[:12]}, not {checksum[:12]}); use that one, or make new classes"
            )

    def save(self, path: str | Path) -> None:
        """Write the model as safetensors with a JSON header; the same model gives the same bytes.

        Raises
        ------
        OutputError
            If the file cannot be written; an older one is then still whole.
        """
        legend, schema = self._legend(), self.schema
        tensors = {name: getattr(self, name + "_") for name in _LEARNED}
        names, colors = legend.names, legend.colors
        header = {
            "mask_model": {"name": schema.model, "checksum": schema.checksum},
            "features": schema.names,
            # None where there are only the mask model's own, as in files of earlier versions.
            **({} if schema.is_own else {"blocks": [asdict(block) for block in schema.blocks]}),
            "stretch": schema.stretch,
            "settings": {"n_classes": self.settings.n_classes, "seed": self.settings.seed},
            "n_samples": self.n_samples_,
            "reach": self.reach_ if np.isfinite(self.reach_) else None,
            "classes": [{"id": i, "name": names[i], "color": colors[i]} for i in legend.ids],
        }
        classfile.write(Path(path), header, {**tensors, "weights": schema.weights})

    @classmethod
    def load(cls, path: str | Path) -> ClassModel:
        """Read a model from its file, or from the folder of a run.

        Raises
        ------
        ModelError
            If it is missing, damaged, of another format or of a newer version.
        """
        file = classfile.find(path)
        header, tensors = classfile.read(file)
        try:
            return cls._restore(header, tensors)
        except (KeyError, TypeError, ValueError, OverflowError, SettingsError, ModelError) as error:
            raise classfile.damaged(file, f"{type(error).__name__}: {error}") from error

    @classmethod
    def _restore(cls, header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> ClassModel:
        schema = FeatureSchema(
            header["mask_model"]["name"],
            header["mask_model"]["checksum"],
            tuple(header["features"]),
            tensors["weights"],
            header["stretch"],
            tuple(FeatureBlock(**block) for block in header.get("blocks", ())),
        )
        model = cls(ClassSettings.from_json(header["settings"]), schema)
        size, columns = model.settings.n_classes, len(schema.names)
        shapes = {
            "centers": (size, columns),
            "mean": (columns,),
            "scale": (columns,),
            "axes": (columns, columns),
        }
        # Files of version 1 have no axes, those of version 1 and 2 no reach.
        tensors = {"axes": np.eye(columns), **tensors}
        for name, dtype in _LEARNED.items():
            tensor = tensors[name]
            if tensor.dtype != dtype or tensor.shape != shapes.get(name, (size,)):
                raise ValueError(f"{name} is {tensor.dtype} of shape {tensor.shape}")
            if not np.isfinite(tensor).all():
                raise ValueError(f"{name} is not finite")
            setattr(model, name + "_", tensor)
        model.n_samples_ = int(header["n_samples"])
        model.reach_ = np.inf if header.get("reach") is None else float(header["reach"])
        model.legend_ = Legend.restore(size, header["classes"])
        if (model.scale_ <= 0).any() or not model.reach_ > 0 or (model.counts_ < 0).any():
            raise ValueError("a scale or the reach is not above 0, or a count below it")
        if set(model.class_of_center_.tolist()) != set(model.class_ids):
            raise ValueError("centres and classes do not match")
        return model

    @property
    def _is_fitted(self) -> bool:
        return hasattr(self, "legend_")

    def _legend(self) -> Legend:
        if not self._is_fitted:
            waiting = sum(map(len, self._waiting))
            raise ModelError(
                f"the class model has no classes yet: call fit, or partial_fit with"
                f" {10 * self.settings.n_classes} segments or more (so far {waiting})"
            )
        return self.legend_

    def _with(self, legend: Legend, owners: Sequence[int] | NDArray[np.int32] = ()) -> ClassModel:
        changed = copy.copy(self)
        changed.legend_ = legend
        if len(owners):
            changed.class_of_center_ = np.asarray(owners, np.int32)
        return changed

    def _standardise(self, features: NDArray[np.floating]) -> Rows:
        rows = (features.astype(np.float64) - self.mean_) / self.scale_
        return compress(rows, self.reach_) * self.schema.weights

    def _transform(self, features: NDArray[np.floating]) -> Rows:
        return rotate(self._standardise(features), self.axes_)


def _too_few(wanted: int, found: int, distinct: int) -> str:
    what = "1 segment was found" if found == 1 else f"{found} segments were found"
    if distinct < found:
        what = f"{distinct} of the {found} segments found differ"
    remedy = f"use `n_classes={distinct}` or less"
    if distinct < 2:
        remedy = "label a larger area, or several scenes together"
    return f"`n_classes` is {wanted} but only {what}; {remedy}"
