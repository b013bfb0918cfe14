"""Pseudo-classes: groups of like segments, found by online k-means and kept in a file.

A class model knows all that its ids depend on: centres, the scaling and weights of features, the
mask model they come from, and the stretch of the scenes. Its `Legend` has names and colours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ModelError, SettingsError
from ..progress import Progress
from ..settings import ClassSettings
from ..settings.options import AnyPath
from . import file as classfile
from . import splits
from .clustering import cluster, margin, nearest, squared_distance, update_online
from .editable import Editable
from .legend import Legend
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
from .schema import FeatureBlock, FeatureSchema
from .whitening import choose_reach, compress, measure_axes, rotate

SAMPLE_SIZE = 20000
# What is kept in a file: the name there, and the attribute.
_LEARNED = {
    "centers": "cluster_centers_",
    **{name: f"{name}_" for name in ("counts", "class_of_center", "mean", "scale", "axes")},
}


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

    schema: FeatureSchema
    counts_: NDArray[np.int64]
    mean_: Rows
    scale_: Rows
    reach_: float
    axes_: Rows
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
            return Weighted(self._transform(part.rows), part.weights)

        seen = self._measure(segments(), wanted)

        def blocks() -> Iterator[Weighted]:
            """Begin a pass over what they became."""
            return map(transform, reblock(segments()))

        result = cluster(blocks, transform(seen.sample), wanted, seed, progress)
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
        return Weighted(self._transform(seen.sample.rows), seen.sample.weights)

    def _measure(self, segments: Iterator[Weighted], wanted: int) -> Sketch:
        """Learn how features are scaled and whitened, in one pass."""
        seen = sketch(segments, max(10 * wanted, SAMPLE_SIZE), wanted, self.seed)
        found, distinct = (seen.count, seen.distinct) if seen else (0, 0)
        if seen is None or distinct < wanted:
            raise SettingsError(describe_shortage(wanted, found, distinct))
        self.mean_, self.scale_ = seen.mean, seen.scale
        self.reach_ = choose_reach(len(self.mean_))
        self.axes_ = measure_axes(self._standardise(seen.sample.rows), self.seed)
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
                rows = self._transform(features[start : start + BLOCK])
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
        groups = self.class_of_center_
        for start in range(0, len(features), BLOCK):
            part = slice(start, start + BLOCK)
            rows = self._transform(features[part])
            index = nearest(rows, self.cluster_centers_)
            class_id[part] = groups[index]
            if len(set(groups.tolist())) > 1:
                second = nearest(rows, self.cluster_centers_, groups, barred=groups[index])
                confidence[part] = margin(
                    rows, self.cluster_centers_[index], self.cluster_centers_[second]
                )
            splits.follow(self.steps_, rows, class_id[part], confidence[part])
        return Prediction(class_id, confidence)

    def distances(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return how far each segment is from the nearest centre, in the space of the centres."""
        (features,) = self.schema.check([np.asarray(X)])
        found = np.zeros(len(features), np.float32)
        for start in range(0, len(features), BLOCK):
            rows = self._transform(features[start : start + BLOCK])
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
        legend, schema = self._legend(), self.schema
        tensors = {name: getattr(self, attribute) for name, attribute in _LEARNED.items()}
        header = {
            "mask_model": {"name": schema.model, "checksum": schema.checksum},
            "features": schema.names,
            **({} if schema.is_own else {"blocks": [asdict(block) for block in schema.blocks]}),
            "stretch": schema.stretch,
            "settings": {"n_classes": self.n_classes, "seed": self.seed},
            "n_samples": self.n_samples_,
            "reach": self.reach_ if np.isfinite(self.reach_) else None,
            "classes": legend.to_records(),
        }
        tensors["weights"], version = schema.weights, classfile.VERSION_WITHOUT_SPLITS
        if self.steps_:
            header |= {"size": legend.size, "splits": splits.to_records(self.steps_)}
            tensors["split_centers"] = splits.stack(self.steps_, len(schema.names))
            version = classfile.VERSION
        classfile.write(Path(path), header, tensors, version)

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
        model = cls(**header["settings"], schema=schema)
        size = model.n_classes
        learned = classfile.check_learned(tensors, size, len(schema.names))
        for name, attribute in _LEARNED.items():
            setattr(model, attribute, learned[name])
        model.n_samples_ = int(header["n_samples"])
        model.reach_ = np.inf if header.get("reach") is None else float(header["reach"])
        model.legend_ = Legend.restore(int(header.get("size", size)), header["classes"])
        none = np.zeros((0, len(schema.names)))
        model.steps_ = splits.restore(header.get("splits", ()), tensors.get("split_centers", none))
        if (model.scale_ <= 0).any() or not model.reach_ > 0 or (model.counts_ < 0).any():
            raise ValueError("a scale or the reach is not above 0, or a count below it")
        if splits.reach(model.steps_, model.class_of_center_.tolist()) != set(model.class_ids):
            raise ValueError("centres and classes do not match")
        return model

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
        return self._transform(features)

    def _standardise(self, features: NDArray[np.floating]) -> Rows:
        rows = (features.astype(np.float64) - self.mean_) / self.scale_
        return compress(rows, self.reach_) * self.schema.weights

    def _transform(self, features: NDArray[np.floating]) -> Rows:
        return rotate(self._standardise(features), self.axes_)
