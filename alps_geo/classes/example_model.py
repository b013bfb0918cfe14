"""Classes that somebody named by examples, with the face and the file of a class model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import SettingsError
from .classifier import Classifier, expect_shares, learn
from .clustering import nearest
from .content import LEARNED
from .examples import Examples
from .legend import Legend
from .model import ClassModel
from .sampling import Rows, count_of_areas
from .splits import Step


class ExampleModel(ClassModel):
    """Classes from examples, on the ground of pseudo-classes; made by `learn_classes`.

    Pseudo-classes tell how features are scaled and whitened, how far the segments spread that the
    examples were chosen among, and what segments are that fit no example.

    Attributes
    ----------
    classifier_ : Classifier
        In whitened features.
    class_of_name_ : ndarray of int32, shape (n_names,)
        The class of each of the classifier's, several of which may be merged.
    has_example_ : ndarray of bool, shape (n_centers,)
        Whether an example is nearest to a centre. With `keep_rest_` segments of the others keep
        their pseudo-classes.
    keep_rest_ : bool
    examples_ : Examples
        What it was learned from, for models that learn more; `names` are those of the columns.
    columns_ : tuple of str, length n_names
        What the classifier's classes were called when they were learned.
    """

    KIND: ClassVar[str] = "examples"
    classifier_: Classifier
    class_of_name_: NDArray[np.int32]
    has_example_: NDArray[np.bool_]
    keep_rest_: bool
    examples_: Examples
    columns_: tuple[str, ...]

    def named_examples(self) -> Examples:
        """Return the examples with the names that their classes have now."""
        now = {
            column: self.names[_after(self.steps_, int(class_id))]
            for column, class_id in zip(self.columns_, self.class_of_name_, strict=True)
        }
        names = np.array([now[name] for name in self.examples_.names.tolist()])
        return Examples(self.examples_.features, self.examples_.area_px, names)

    def probabilities(self, features: NDArray[np.floating]) -> Rows:
        """Return the probability of each of the classifier's classes, shape (n, n_names).

        Parameters
        ----------
        features : ndarray of float, shape (n, n_features)
        """
        return self.classifier_.probabilities(self.whiten(features))

    def _learn(self, examples: Examples, sample: Examples) -> None:
        """Learn from examples whose names are among the columns."""
        rows = self.whiten(examples.features)
        numbers = np.searchsorted(np.array(self.columns_), examples.names)
        size = len(self.columns_)
        even = learn(rows, numbers, count_of_areas(examples.area_px), size)
        self.classifier_ = expect_shares(
            even,
            self.whiten(sample.features),
            sample.area_px,
            np.bincount(numbers, minlength=size),
        )
        self.examples_ = examples
        self.has_example_ = np.zeros(self.n_classes, bool)
        self.has_example_[nearest(rows, self.cluster_centers_)] = True

    def _name(self, ground: ClassModel, ids: Mapping[str, int]) -> None:
        """Give the classes ids: those they had, then the first free ones, then pseudo-classes."""
        taken = {ids[name]: name for name in self.columns_ if name in ids}
        free = (number for number in count() if number not in taken)
        names = taken | {next(free): name for name in self.columns_ if name not in ids}
        owners = {name: number for number, name in names.items()}
        self.class_of_name_ = np.array([owners[name] for name in self.columns_], np.int32)
        if not self.keep_rest_:
            self.legend_ = Legend(max(names) + 1, tuple(sorted(names)), names)
            best = self.classifier_.probabilities(self.cluster_centers_).argmax(axis=1)
            self.class_of_center_ = self.class_of_name_[best]
            return
        first = max(names) + 1
        kept = dict(zip(ground.class_ids, range(first, first + len(ground.class_ids)), strict=True))
        size = first + len(kept)
        self.legend_ = Legend(size, (*sorted(names), *kept.values()), names)
        owned = [kept[int(old)] for old in ground.class_of_center_]
        self.class_of_center_ = np.array(owned, np.int32)

    def _assign_block(
        self, rows: Rows, index: NDArray[np.intp]
    ) -> tuple[NDArray[np.integer], NDArray[np.floating]]:
        ids, columns = np.unique(self.class_of_name_, return_inverse=True)
        by_name = self.classifier_.probabilities(rows)
        sums = np.zeros((len(rows), len(ids)))
        for number, column in enumerate(columns.tolist()):
            sums[:, column] += by_name[:, number]
        best = sums.argmax(axis=1)
        class_id, confidence = ids[best].astype(np.int64), sums[np.arange(len(rows)), best]
        confidence = np.minimum(confidence, 1)
        doubtful = confidence < self.reject_
        if self.keep_rest_:
            rest = doubtful | ~self.has_example_[index]
            pseudo, margins = super()._assign_block(rows, index)
            class_id[rest], confidence[rest] = pseudo[rest], margins[rest]
        elif self.unknown_ is not None:
            class_id[doubtful], confidence[doubtful] = self.unknown_, 0
        return class_id, confidence

    def _follow_ids(self, new_ids: Mapping[int, int]) -> None:
        super()._follow_ids(new_ids)
        owners = [new_ids[int(old)] for old in self.class_of_name_]
        self.class_of_name_ = np.array(owners, np.int32)

    def _class_ids_given(self) -> set[int]:
        return super()._class_ids_given() | set(self.class_of_name_.tolist())

    def _content(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        header, tensors = super()._content()
        header |= {
            "kind": self.KIND,
            "columns": self.columns_,
            "keep_rest": self.keep_rest_,
            "size": self.legend_.size,
            "reject": self.reject_,
        }
        numbers = {name: number for number, name in enumerate(self.columns_)}
        tensors |= {
            "coef": self.classifier_.coef,
            "intercept": self.classifier_.intercept,
            "class_of_name": self.class_of_name_,
            "has_example": self.has_example_.astype(np.uint8),
            "example_features": self.examples_.features,
            "example_area_px": self.examples_.area_px,
            "example_class": np.array(
                [numbers[n] for n in self.examples_.names.tolist()], np.int32
            ),
        }
        return header, tensors

    def _restore_more(self, header: dict[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
        columns, features = len(header["columns"]), len(self.schema.names)
        examples = len(tensors["example_class"])
        wanted = {
            "coef": (np.float64, (features, columns)),
            "intercept": (np.float64, (columns,)),
            "class_of_name": (np.int32, (columns,)),
            "has_example": (np.uint8, (self.n_classes,)),
            "example_features": (np.float32, (examples, features)),
            "example_area_px": (np.int64, (examples,)),
            "example_class": (np.int32, (examples,)),
        }
        for name, (dtype, shape) in wanted.items():
            tensor = tensors[name]
            if tensor.dtype != dtype or tensor.shape != shape or not np.isfinite(tensor).all():
                raise ValueError(f"{name} is {tensor.dtype} of shape {tensor.shape}")
        numbers = tensors["example_class"]
        if not ((numbers >= 0) & (numbers < columns)).all():
            raise ValueError("an example is of a class that is not there")
        self.columns_ = tuple(map(str, header["columns"]))
        self.keep_rest_, self.reject_ = bool(header["keep_rest"]), float(header["reject"])
        self.classifier_ = Classifier(tensors["coef"], tensors["intercept"])
        self.class_of_name_ = tensors["class_of_name"]
        self.has_example_ = tensors["has_example"].astype(bool)
        names = np.array(self.columns_)[numbers]
        self.examples_ = Examples(tensors["example_features"], tensors["example_area_px"], names)


def learn_classes(
    ground: ClassModel,
    examples: Examples,
    sample: Examples,
    *,
    keep_rest: bool = False,
    ids: Mapping[str, int] | None = None,
) -> ExampleModel:
    """Learn classes from examples.

    Parameters
    ----------
    ground : ClassModel
        Pseudo-classes of the segments that the examples are some of.
    examples : Examples
        One at least; of two classes, unless the rest is kept.
    sample : Examples
        A fair sample of all segments, whose names do not matter: it tells how much of the ground
        the classes cover.
    keep_rest : bool
        Segments whose pseudo-class holds no example stay there, and so do those that are rejected.
    ids : mapping of str to int, optional
        Ids that classes had before; others get the first that are free.

    Raises
    ------
    SettingsError
        If there are too few classes, or a name cannot be one.
    """
    columns = tuple(sorted({*examples.names.tolist()}))
    if not columns or (len(columns) == 1 and not keep_rest):
        found = f"only one class, {columns[0]!r}" if columns else "no class"
        raise SettingsError(
            f"the examples have {found}; give examples of two classes or more, or use `keep_rest`,"
            " which leaves what fits none in pseudo-classes",
            code="settings.examples",
            setting="examples",
        )
    model = ExampleModel(ground.n_classes, ground.seed, schema=ground.schema)
    _take_ground(model, ground)
    model.columns_, model.keep_rest_, model.steps_ = columns, keep_rest, ()
    model._learn(examples.thin(ground.seed), sample)
    model._name(ground, ids or {})
    return model


def _take_ground(model: ClassModel, other: ClassModel) -> None:
    """Give a model the centres of another, and how it scales and whitens; no classes."""
    for attribute in (*LEARNED.values(), "reach_", "n_samples_", "spread_"):
        setattr(model, attribute, getattr(other, attribute))


def pseudo_classes_of(other: ClassModel) -> ClassModel:
    """Return the pseudo-classes of a model as they were found, without names and edits."""
    model = ClassModel(other.n_classes, other.seed, schema=other.schema)
    _take_ground(model, other)
    model.class_of_center_ = np.arange(other.n_classes, dtype=np.int32)
    model.legend_ = Legend(other.n_classes, tuple(range(other.n_classes)))
    model.steps_ = ()
    return model


def _after(steps: Iterable[Step], class_id: int) -> int:
    """Return what became of a class; of one that was split, the part that kept its id."""
    for step in steps:
        class_id = step.ids[0] if step.of == class_id else class_id
    return class_id
