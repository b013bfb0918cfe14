"""Pseudo-classes: groups of like segments, found by online k-means and kept in a file.

A class model knows all that its ids depend on: centres, the scaling and weights of features, the
mask model they come from, and the stretch of the scenes. Its `Legend` has names and colours.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ModelError, SettingsError
from ..progress import Progress
from ..settings import ClassSettings
from ..settings.options import AnyPath
from . import content, splits
from . import file as classfile
from .clustering import cluster, margin, nearest, squared_distance, update_online
from .editable import Editable
from .legend import Legend
from .novelty import UNKNOWN, UNKNOWN_COLOR, Spread, measure_spread
from .prediction import Prediction
from .sampling import (
    BLOCK,
    Rows,
    Sketch,
    Weighted,
    as_batches,
    describe_shortage,
    reblock,
    sketch,
    weigh,
)
from .schema import FeatureSchema
from .whitening import choose_reach, compress, measure_axes, rotate

SAMPLE_SIZE = 20000


class ClassModel(Editable):
    """Groups segments, or any rows of numbers, into classes, in the words of scikit-learn.

    `fit` and `partial_fit` return the model itself; what names, orders or merges, a changed copy.

    Parameters
    ----------
    n_classes : int
    seed : int
        Of the clustering.
    schema : FeatureSchema, optional
        What features are, and how much each counts; by default all columns count alike.

    Attributes
    ----------
    cluster_centers_ : ndarray of float64, shape (n_centers, n_features)
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
    spread_ : Spread
        How far the segments reach that it was made from.
    reject_ : float
        Above 0 where segments farther away than that are unknown; see `rejecting`.
    unknown_ : int or None
        The class of these.
    legend_ : Legend
    steps_ : tuple of Step
        Classes split, and merged after that, since they were found; see `splits`.
    n_samples_ : int
    inertia_, n_iter_, settled_ : how the last `fit` ended; not kept in the file

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.repeat([[0.0, 1.0], [5.0, 2.0]], 50, axis=0)
    >>> model = ClassModel(n_classes=2, seed=0).fit(rows)
    >>> model.predict([[4.9, 2.0], [0.1, 1.0], [5.1, 2.1]])
    array([1, 0, 1], dtype=uint16)
    """

    #: What files call models of this kind.
    KIND: ClassVar[str] = "clusters"
    schema: FeatureSchema
    counts_: NDArray[np.int64]
    mean_: Rows
    scale_: Rows
    reach_: float
    axes_: Rows
    spread_: Spread
    reject_: float = 0.0
    unknown_: int | None = None
    n_samples_: int
    inertia_: float
    n_iter_: int
    settled_: bool

    def __init__(
        self,
        n_classes: int = ClassSettings().number,
        seed: int = ClassSettings.seed,
        *,
        schema: FeatureSchema | None = None,
    ) -> None:
        checked = ClassSettings(n_classes, seed=seed)
        if checked.is_auto:
            raise SettingsError(
                "a class model needs a number of classes: `n_classes=auto` is for whole runs"
            )
        self.n_classes, self.seed = checked.number, checked.seed
        if schema is not None:
            self.schema = schema
        self._waiting: list[NDArray[np.float32]] = []

    def fit(
        self,
        X: ArrayLike | Sequence[NDArray[Any]],
        *,
        sample_weight: ArrayLike | Sequence[NDArray[Any]] | None = None,
        progress: Progress | None = None,
    ) -> ClassModel:
        """Find classes in features that need not fit in memory.

        Parameters
        ----------
        X : array-like, shape (n_segments, n_features), or sequence of ndarray of such shapes
            A sequence is gone through again and again; where it is cut makes no difference.
        sample_weight : array-like, shape (n_segments,), or sequence of ndarray, optional
            Pixels of each segment, 1 or more, cut like `X`: a segment of a pixels counts
            a / (a + 64). All count alike where none are given.
        progress : Progress, optional
            Is told of every pass.

        Raises
        ------
        SettingsError
            If there are fewer different segments than classes.
        ModelError
            If features are not finite or not as many as the schema names.
        """
        batches = as_batches(X, 2)
        areas = None if sample_weight is None else as_batches(sample_weight, 1)
        self._take_schema(batches)
        wanted, seed = self.n_classes, self.seed

        def segments() -> Iterator[Weighted]:
            """Begin a pass over all segments."""
            return weigh(self.schema.check(batches), areas)

        def transform(part: Weighted) -> Weighted:
            """Bring rows to where centres are."""
            return Weighted(self.whiten(part.rows), part.weights)

        seen = self._measure(segments(), wanted)

        def blocks() -> Iterator[Weighted]:
            """Begin a pass over what they became."""
            return map(transform, reblock(segments()))

        sample = transform(seen.sample)
        self.spread_ = measure_spread(self.standardise(seen.sample.rows), sample.rows, seed)
        result = cluster(blocks, sample, wanted, seed, progress)
        self.cluster_centers_, self.counts_ = result.centers, result.counts
        self.class_of_center_ = np.arange(wanted, dtype=np.int32)
        self.legend_, self.steps_ = Legend(wanted, tuple(range(wanted))), ()
        self.inertia_, self.settled_ = result.inertia, result.settled
        self.n_iter_ = result.online_passes + result.exact_passes
        return self

    def sample(
        self,
        X: ArrayLike | Sequence[NDArray[Any]],
        *,
        sample_weight: ArrayLike | Sequence[NDArray[Any]] | None = None,
    ) -> Weighted:
        """Return segments drawn with equal chances, where `fit` clusters them.

        Parameters
        ----------
        X, sample_weight
            As of `fit`.

        Raises
        ------
        SettingsError
            If there are fewer different segments than classes.
        """
        batches = as_batches(X, 2)
        areas = None if sample_weight is None else as_batches(sample_weight, 1)
        self._take_schema(batches)
        seen = self._measure(weigh(self.schema.check(batches), areas), self.n_classes)
        return Weighted(self.whiten(seen.sample.rows), seen.sample.weights)

    def _measure(self, segments: Iterator[Weighted], wanted: int) -> Sketch:
        """Learn how features are scaled and whitened, in one pass."""
        seen = sketch(segments, max(10 * wanted, SAMPLE_SIZE), wanted, self.seed)
        found, distinct = (seen.count, seen.distinct) if seen else (0, 0)
        if seen is None or distinct < wanted:
            raise SettingsError(describe_shortage(wanted, found, distinct))
        self.mean_, self.scale_ = seen.mean, seen.scale
        self.reach_ = choose_reach(len(self.mean_))
        self.axes_ = measure_axes(self.standardise(seen.sample.rows), self.seed)
        self.n_samples_ = found
        return seen

    def partial_fit(self, X: ArrayLike) -> ClassModel:
        """Learn from some more segments, as they come (the paper's online k-means).

        A new model first fits ten segments per class; from then on scaling, ids and names stay.

        Parameters
        ----------
        X : array-like, shape (n_segments, n_features)
        """
        batches = [np.asarray(X)]
        self._take_schema(batches)
        (features,) = self.schema.check(batches)
        if hasattr(self, "legend_"):
            for start in range(0, len(features), BLOCK):
                rows = self.whiten(features[start : start + BLOCK])
                self.cluster_centers_, self.counts_ = update_online(
                    self.cluster_centers_, self.counts_, rows
                )
            self.n_samples_ += len(features)
            return self
        self._waiting.append(features.copy())
        if sum(map(len, self._waiting)) >= 10 * self.n_classes:
            self.fit(self._waiting)
            self._waiting = []
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.uint16]:
        """Return the class id of each segment; `assign` says how sure they are, too."""
        return self.assign(X).class_id

    def assign(self, X: ArrayLike) -> Prediction:
        """Find the class of each segment; what a segment gets does not depend on the others.

        Parameters
        ----------
        X : array-like, shape (n_segments, n_features)

        Raises
        ------
        ModelError
            If features are not finite or not as many as the schema names.
        """
        self._legend()
        (features,) = self.schema.check([np.asarray(X)])
        class_id = np.zeros(len(features), np.uint16)
        confidence = np.ones(len(features), np.float32)
        for start in range(0, len(features), BLOCK):
            part = slice(start, start + BLOCK)
            rows = self.whiten(features[part])
            index = nearest(rows, self.cluster_centers_)
            class_id[part], confidence[part] = self._assign_block(rows, index)
            if self.unknown_ is not None:
                far = self.spread_.is_beyond(rows)
                class_id[part][far], confidence[part][far] = self.unknown_, 0
            splits.follow(self.steps_, rows, class_id[part], confidence[part])
        return Prediction(class_id, confidence)

    def _assign_block(
        self, rows: Rows, index: NDArray[np.intp]
    ) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        """Return class and confidence of rows, whose nearest centres are known."""
        groups, centers = self.class_of_center_, self.cluster_centers_
        if len(np.unique(groups)) < 2:
            return groups[index], np.ones(len(rows))
        second = nearest(rows, centers, groups, barred=groups[index])
        return groups[index], margin(rows, centers[index], centers[second])

    def rejecting(self, reject: float) -> ClassModel:
        """Return the model with a class `unknown` for what it was not made for; 0 gives none.

        Parameters
        ----------
        reject : float
            From 0 to 1. Pseudo-classes have no probability: with any number above 0, segments
            beyond the spread of those that the model was made from are unknown.
        """
        model = copy.copy(self)
        model.reject_ = reject
        if reject > 0 and self.unknown_ is None:
            model.unknown_ = self._legend().free_id(UNKNOWN)
            model.legend_ = self.legend_.add_named({model.unknown_: UNKNOWN}, UNKNOWN_COLOR)
        elif reject == 0 and self.unknown_ is not None:
            model.unknown_ = None
            if self.unknown_ not in model._class_ids_given():  # else it is merged with another
                model.legend_ = self._legend().remove(self.unknown_)
        return model

    def distances(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return how far each segment is from the nearest centre, in the space of the centres."""
        (features,) = self.schema.check([np.asarray(X)])
        found = np.zeros(len(features), np.float32)
        for start in range(0, len(features), BLOCK):
            rows = self.whiten(features[start : start + BLOCK])
            near = self.cluster_centers_[nearest(rows, self.cluster_centers_)]
            found[start : start + BLOCK] = np.sqrt(squared_distance(rows, near))
        return found

    def save(self, path: AnyPath) -> None:
        """Write the model as safetensors with a JSON header; the same model gives the same bytes.

        Raises
        ------
        OutputError
            If the file cannot be written; an older one is then still whole.
        """
        self._legend()
        header, tensors = self._content()
        is_new = any(name in header for name in ("kind", "unknown", "splits"))
        version = classfile.VERSION if is_new else classfile.VERSION_WITHOUT_SPLITS
        classfile.write(Path(path), header, tensors, version)

    def _content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        return content.describe(self)

    @classmethod
    def load(cls, path: AnyPath) -> ClassModel:
        """Read a model from its file, or from the folder of a run.

        Raises
        ------
        ModelError
            If it is missing, damaged, of another format or of a newer version.
        """
        file = classfile.find(path)
        header, tensors = classfile.read(file)
        try:
            known: list[type[ClassModel]] = [ClassModel, *ClassModel.__subclasses__()]
            kinds = {kind.KIND: kind for kind in known}
            return kinds[header.get("kind", ClassModel.KIND)]._restore(header, tensors)
        except (KeyError, TypeError, ValueError, OverflowError, SettingsError, ModelError) as error:
            raise classfile.damaged(file, f"{type(error).__name__}: {error}") from error

    @classmethod
    def _restore(cls, header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> ClassModel:
        model = cls(**header["settings"], schema=content.schema_of(header, tensors))
        content.fill(model, header, tensors)
        model._restore_more(header, tensors)
        if splits.reach(model.steps_, model._class_ids_given()) != set(model.class_ids):
            raise ValueError("centres and classes do not match")
        return model

    def _restore_more(self, header: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        """Take what models of another kind have more in their files."""

    def _take_schema(self, batches: Sequence[NDArray[Any]]) -> None:
        """Take columns as they come where nobody said what they are."""
        if not hasattr(self, "schema"):
            self.schema = FeatureSchema.of_columns(next(iter(batches), np.zeros((0, 0))))

    def _legend(self) -> Legend:
        if not hasattr(self, "legend_"):
            waiting = sum(map(len, self._waiting))
            raise ModelError(
                f"the class model has no classes yet: call fit, or partial_fit with"
                f" {10 * self.n_classes} segments or more (so far {waiting})"
            )
        return self.legend_

    def transform(self, X: ArrayLike) -> Rows:
        """Return features as centres have them, ndarray of float64 of the same shape."""
        (features,) = self.schema.check([np.asarray(X)])
        return self.whiten(features)

    def _follow_ids(self, new_ids: Mapping[int, int]) -> None:
        if self.unknown_ is not None:
            self.unknown_ = new_ids.get(self.unknown_, self.unknown_)

    def _class_ids_given(self) -> set[int]:
        """Return all classes that a segment can get."""
        return {*self.class_of_center_.tolist(), *({self.unknown_} - {None})}

    def standardise(self, features: NDArray[np.floating]) -> Rows:
        """Return features, shape (n, n_features), scaled, compressed and weighted."""
        rows = (features.astype(np.float64) - self.mean_) / self.scale_
        return compress(rows, self.reach_) * self.schema.weights

    def whiten(self, features: NDArray[np.floating]) -> Rows:
        """Return features, shape (n, n_features), as distances between them are measured."""
        return rotate(self.standardise(features), self.axes_)
