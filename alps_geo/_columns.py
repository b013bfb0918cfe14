"""Tables of columns of equal length: how many rows, chosen rows, and rows one below another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Table = TypeVar("Table", bound="Columns")


class Columns:
    """Base of frozen dataclasses whose fields are columns of equal length.

    A column is an array, its first axis the rows, or has `take` and `concatenate` of its own.
    """

    def __len__(self) -> int:
        return len(self._columns()[0])

    def take(self: Table, chosen: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Table:
        """Return the chosen rows, by number or by a flag per row, in the order given."""
        return type(self)(
            *(
                column[chosen] if isinstance(column, np.ndarray) else column.take(chosen)
                for column in self._columns()
            )
        )

    @classmethod
    def concatenate(cls: type[Table], parts: Sequence[Table]) -> Table:
        """Put the rows of one table or more below one another."""
        columns = zip(*(part._columns() for part in parts), strict=True)
        return cls(
            *(
                np.concatenate(column)
                if isinstance(column[0], np.ndarray)
                else type(column[0]).concatenate(column)
                for column in columns
            )
        )

    def _columns(self) -> list[Any]:
        names = [item.name for item in dataclasses.fields(self)]  # type: ignore[arg-type]
        return [getattr(self, name) for name in names]
