"""What results are made from, written down: to finish a change that was stopped, and to undo one.

All results follow from the segments, which no command changes, and from a `State`: the class model,
the edits by hand and the record. So a state is all that must be kept to make results again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import replacing
from ..errors import RunError
from ..outputs.writing import to_json
from .edits import Edits


@dataclass(frozen=True, eq=False)
class State:
    """What the results of a run are made from, beside its segments.

    Attributes
    ----------
    model : str
        Checksum of the class model, which lies in the run folder; empty where there is none.
    edits : mapping of str to Edits
        By the scene's stem.
    record : mapping
        JSON values.
    """

    model: str
    edits: Mapping[str, Edits]
    record: Mapping[str, Any]

    @property
    def models(self) -> set[str]:
        """Checksums of all class models that are needed."""
        return {self.model, *(name for edits in self.edits.values() for name in edits.models())}

    def is_like(self, other: State) -> bool:
        """Return whether both give segments the same classes, of the same names and colours."""
        return self.model == other.model and self._rows() == other._rows()

    def _rows(self) -> dict[str, list[list[Any]]]:
        return {stem: edits.to_rows() for stem, edits in self.edits.items() if len(edits)}

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return {"model": self.model, "edits": self._rows(), "record": to_json(self.record)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> State:
        """Return the state that `to_json` gave.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is not one.
        """
        edits = {stem: Edits.from_rows(rows) for stem, rows in values["edits"].items()}
        return cls(str(values["model"]), edits, dict(values["record"]))


@dataclass(frozen=True, eq=False)
class Pending:
    """A change of results that is decided, but may not be done.

    Attributes
    ----------
    after : State
        What results become.
    undo : State or None
        What they are made from again by undoing the change.
    drops_edits : bool
        Edits that are found in packages are to be dropped, too.
    """

    after: State
    undo: State | None
    drops_edits: bool = False

    def save(self, path: Path) -> None:
        """Write it, whole or not at all; from then on the change counts as made.

        Raises
        ------
        OutputError
            If it cannot be written.
        """
        undo = None if self.undo is None else self.undo.to_json()
        values = {"after": self.after.to_json(), "undo": undo, "drops_edits": self.drops_edits}
        _write(path, values)


def load_pending(path: Path) -> Pending | None:
    """Read a change that was stopped; None where there is none.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    values = _read(path)
    if values is None:
        return None
    try:
        undo = values["undo"]
        return Pending(
            State.from_json(values["after"]),
            None if undo is None else State.from_json(undo),
            bool(values["drops_edits"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def save_undo(path: Path, state: State | None) -> None:
    """Write what results were made from before; without it, nothing can be undone."""
    if state is None:
        path.unlink(missing_ok=True)
    else:
        _write(path, state.to_json())


def load_undo(path: Path) -> State | None:
    """Read what results were made from before; None where there is nothing to undo.

    Raises
    ------
    RunError
        If the file is damaged.
    """
    values = _read(path)
    try:
        return None if values is None else State.from_json(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, allow_nan=False), encoding="utf-8")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return values


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} cannot be read: {error}; remove it, and give the last command again")
