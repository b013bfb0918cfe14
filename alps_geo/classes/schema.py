"""Where features come from: what must agree before classes made there are used elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError


@dataclass(frozen=True)
class FeatureBlock:
    """One source of features.

    Attributes
    ----------
    name : str
        What the user calls it, such as `texture` or `sam`.
    checksum : str
        Identifies weights and parameters: two blocks with the same name and checksum have the same
        columns with the same numbers.
    """

    name: str
    checksum: str


def own_block(model: str) -> str:
    """Return what the features that a mask model gives by itself are called.

    Parameters
    ----------
    model : str
        Name of the mask model.

    Returns
    -------
    str
        `texture`, `sam`, or the name of a model that is neither.
    """
    if model == "builtin":
        return "texture"
    return "sam" if model == "mobile-sam" or model.startswith("sam-") else model


def in_words(blocks: Iterable[FeatureBlock]) -> str:
    """Return blocks as the setting `features` has them: `texture+sam`."""
    return "+".join(block.name for block in blocks)


@dataclass(frozen=True, eq=False)
class FeatureSchema:
    """Where features come from; a class model fits no others.

    Attributes
    ----------
    model, checksum : str
        Name and checksum of the mask model.
    names : tuple of str, length n_features
    weights : ndarray of float32, shape (n_features,)
        How much each standardised feature counts.
    stretch : mapping
        How scenes were scaled to 8 bits, as JSON values.
    blocks : tuple of FeatureBlock
        In the order of the columns; the mask model's own where none are named. Columns of others
        are called by their block's name, a dot, and their own.
    """

    model: str
    checksum: str
    names: tuple[str, ...]
    weights: NDArray[np.float32]
    stretch: Mapping[str, Any] = field(default_factory=dict)
    blocks: tuple[FeatureBlock, ...] = ()

    def __post_init__(self) -> None:
        """Check that names and weights fit each other."""
        if not self.blocks:
            own = FeatureBlock(own_block(self.model), self.checksum)
            object.__setattr__(self, "blocks", (own,))
        weights = self.weights
        if weights.shape != (len(self.names),) or not (np.isfinite(weights) & (weights >= 0)).all():
            raise ModelError(
                f"mask model {self.model!r} must give each of its {len(self.names)} features a"
                f" finite weight of 0 or more, not {weights.tolist()}"
            )

    @property
    def is_own(self) -> bool:
        """Whether there is no block but the mask model's own, as in versions that knew no other."""
        return self.blocks == (FeatureBlock(own_block(self.model), self.checksum),)

    def require(self, blocks: Sequence[FeatureBlock]) -> None:
        """Raise `ModelError` unless these are the blocks, in their order."""
        if tuple(blocks) == self.blocks:
            return
        mine, theirs = in_words(self.blocks), in_words(blocks)
        if mine != theirs:
            raise ModelError(
                f"the class model was made with features {mine!r}, not {theirs!r}; label with"
                f" `features={mine}`, or make new classes",
                code="model.other_features",
                found=theirs,
                wanted=mine,
            )
        changed = next(a.name for a, b in zip(self.blocks, blocks, strict=True) if a != b)
        raise ModelError(
            f"the class model was made with another version of the features {changed!r}; label"
            " again, or make new classes"
        )

    @classmethod
    def of_columns(cls, rows: NDArray[Any]) -> FeatureSchema:
        """Return the schema of rows that come from no mask model, shape (n, n_features)."""
        number = rows.shape[1] if rows.ndim == 2 else 0
        names = tuple(f"feature_{column}" for column in range(number))
        return cls("", "", names, np.ones(number, np.float32))

    def require_model(self, name: str, checksum: str) -> None:
        """Raise `ModelError` unless the features are of this very mask model."""
        if self.model != name:
            raise ModelError(
                f"the class model was made with mask model {self.model!r}, not {name!r}; use"
                f" `model={self.model}`, or make new classes"
            )
        if self.checksum != checksum:
            raise ModelError(
                f"the class model was made with another version of mask model {name!r} (checksum"
                f" {self.checksum[:12]}, not {checksum[:12]}); use that one, or make new classes"
            )

    def check(self, batches: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield batches of features as float32, those without weight set to zero.

        Parameters
        ----------
        batches : iterable of ndarray, shape (n, n_features)

        Raises
        ------
        ModelError
            If features are not finite, or not as many as there are names.
        """
        names = self.names
        row = 0
        for batch in batches:
            features = np.asarray(batch, np.float32)
            if features.ndim != 2 or features.shape[1] != len(names):
                raise ModelError(
                    f"features must have shape (segments, {len(names)}) as in the class model, not"
                    f" {features.shape}; make new classes, or use the mask model they come from"
                )
            if not np.isfinite(features).all():
                bad, column = np.argwhere(~np.isfinite(features))[0]
                raise ModelError(
                    f"feature {names[column]!r} of segment row {row + bad} is"
                    f" {features[bad, column]}, not a finite number; label the scene again with"
                    " `overwrite`"
                )
            row += len(features)
            yield np.where(self.weights > 0, features, np.float32(0))
