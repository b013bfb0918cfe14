"""What the file of a class model holds, and a model's attributes made of it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import file as classfile
from . import splits
from .legend import Legend
from .novelty import Spread
from .schema import FeatureBlock, FeatureSchema

if TYPE_CHECKING:
    from .model import ClassModel

_SAME = ("counts", "class_of_center", "mean", "scale", "axes")
#: Arrays: the name in a file, and the attribute.
LEARNED = {"centers": "cluster_centers_", **{name: f"{name}_" for name in _SAME}}


def describe(model: ClassModel) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the JSON values and the arrays of a model."""
    legend, schema = model.legend_, model.schema
    tensors = {name: getattr(model, attribute) for name, attribute in LEARNED.items()}
    header = {
        "mask_model": {"name": schema.model, "checksum": schema.checksum},
        "features": schema.names,
        **({} if schema.is_own else {"blocks": [asdict(block) for block in schema.blocks]}),
        "stretch": schema.stretch,
        "settings": {"n_classes": model.n_classes, "seed": model.seed},
        "n_samples": model.n_samples_,
        "reach": model.reach_ if np.isfinite(model.reach_) else None,
        "classes": legend.to_records(),
    }
    if model.unknown_ is not None:
        header |= {"unknown": model.unknown_, "reject": model.reject_, "size": legend.size}
    tensors["weights"] = schema.weights
    if model.steps_:
        header |= {"size": legend.size, "splits": splits.to_records(model.steps_)}
        tensors["split_centers"] = splits.stack(model.steps_, len(schema.names))
    if model.spread_.is_known:
        header["spread"] = model.spread_.distance
        tensors |= {"references": model.spread_.references, "moments": model.spread_.moments}
    return header, tensors


def schema_of(header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> FeatureSchema:
    """Return what the features of a file's model are."""
    return FeatureSchema(
        header["mask_model"]["name"],
        header["mask_model"]["checksum"],
        tuple(header["features"]),
        tensors["weights"],
        header["stretch"],
        tuple(FeatureBlock(**block) for block in header.get("blocks", ())),
    )


def fill(model: ClassModel, header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]]) -> None:
    """Give a model, which has its schema, what its file holds.

    Raises
    ------
    KeyError, TypeError, ValueError, SettingsError
        If something is missing, or cannot be.
    """
    size = model.n_classes
    learned = classfile.check_learned(tensors, size, len(model.schema.names))
    for name, attribute in LEARNED.items():
        setattr(model, attribute, learned[name])
    model.n_samples_ = int(header["n_samples"])
    model.reach_ = np.inf if header.get("reach") is None else float(header["reach"])
    model.legend_ = Legend.restore(int(header.get("size", size)), header["classes"])
    none = np.zeros((0, len(model.schema.names)))
    model.steps_ = splits.restore(header.get("splits", ()), tensors.get("split_centers", none))
    model.spread_ = _spread_of(header, tensors, len(model.schema.names))
    if header.get("unknown") is not None:
        model.unknown_, model.reject_ = int(header["unknown"]), float(header["reject"])
    if (model.scale_ <= 0).any() or not model.reach_ > 0 or (model.counts_ < 0).any():
        raise ValueError("a scale or the reach is not above 0, or a count below it")


def _spread_of(
    header: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], columns: int
) -> Spread:
    if "spread" not in header:  # of a version that did not measure it
        return Spread(np.zeros((0, columns), np.float32), np.inf, np.zeros((0, columns)))
    references, moments = tensors["references"], tensors["moments"]
    if (
        references.dtype != np.float32
        or references.shape != (len(references), columns)
        or moments.dtype != np.float64
        or moments.shape != (columns + 1, columns)
        or not (np.isfinite(references).all() and np.isfinite(moments).all())
    ):
        raise ValueError(f"references are {references.dtype} of shape {references.shape}")
    return Spread(references, float(header["spread"]), moments)
