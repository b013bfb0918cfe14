"""What the engine says, one JSON object per line, and what it means; standard library only.

`hello` comes first; then `stage`, `progress`, `message` and `warning`; `result`, `error` or
`cancelled` end a run.
"""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .errors import (
    SET_UP_HINT,
    EngineCancelled,
    EngineCrashed,
    EngineError,
    EngineMissing,
    EngineRefused,
    EngineTooOld,
)

PROTOCOL = 1
#: Characters of a line that is no event; the rest is cut off.
LONGEST_TEXT = 2_000
# Per batch; what exceeds it is counted, so that a flood of lines cannot slow QGIS.
_MOST_TEXTS = 40
_LAST_LINES = 12
# Lines that are not of the protocol, after which nobody expects a greeting any more.
_MOST_RUBBISH = 1_000
#: A line with the stream it came from, 'out' or 'err'; None is the end of the stream.
Line = tuple[str, "str | None"]


class Listener(Protocol):
    """Who shows a run to the user, and knows whether they want to stop it."""

    def stage(self, name: str) -> None:
        """Take note that a stage begins."""

    def progress(self, done: int, total: int, eta_s: float | None) -> None:
        """Take note that `done` of `total` pieces of the stage are finished."""

    def message(self, text: str) -> None:
        """Show what the user may want to know; one line or more."""

    def warning(self, text: str) -> None:
        """Show what the user should know; one line or more."""

    def log(self, text: str) -> None:
        """Show what the engine wrote beside the protocol; one line or more."""

    def is_cancelled(self) -> bool:
        """Return True once the user wants to stop."""


@dataclass
class State:
    """What a run has said so far."""

    hello: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    cancelled: str | None = None
    rubbish: int = 0
    stopped: bool = False
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))


class Batch:
    """What came within a tick, thinned out: the newest progress, and a limited number of texts."""

    def __init__(self, state: State, minimum: str) -> None:
        self._state, self._minimum = state, minimum
        self._texts: dict[str, list[str]] = {"message": [], "warning": [], "log": []}
        self._stage: str | None = None
        self._step: tuple[int, int, float | None] | None = None

    def deliver(self, batch: Sequence[Line], listener: Listener) -> None:
        """Read the lines, then call the listener a few times."""
        for name, line in batch:
            if line is None:
                continue
            if name == "err":
                self._take_log(line)
            else:
                self._take_line(line, listener)
        for text_kind, show in (
            ("message", listener.message),
            ("warning", listener.warning),
            ("log", listener.log),
        ):
            if self._texts[text_kind]:
                show(_shorten(self._texts[text_kind]))
        self._flush_steps(listener)

    def _take_log(self, line: str) -> None:
        self._texts["log"].append(line)
        if line.strip():
            self._state.last_lines.append(line)

    def _take_line(self, line: str, listener: Listener) -> None:
        event = _parse(line)
        if event is None:
            if line.strip():
                self._take_rubbish(line)
            return
        kind, state = event["event"], self._state
        if kind == "hello":
            state.hello = event
            _check_hello(event, self._minimum)
        elif kind == "stage":
            self._flush_steps(listener)
            self._stage = str(event.get("name", ""))
        elif kind == "progress":
            self._step = _read_step(event) or self._step
        elif kind in ("message", "warning"):
            self._texts[kind].append(str(event.get("text", "")))
        elif kind == "cancelled":
            state.cancelled = str(event.get("message", ""))
        elif kind == "error":
            state.error = event
        elif kind == "result":
            state.result = {key: value for key, value in event.items() if key != "event"}

    def _take_rubbish(self, line: str) -> None:
        self._take_log(line[:LONGEST_TEXT])
        self._state.rubbish += 1
        if self._state.hello is None and self._state.rubbish > _MOST_RUBBISH:
            raise EngineCrashed(
                "What was started is no alps-geo engine: it writes lines that mean nothing."
                f" {SET_UP_HINT}{_last(self._state)}"
            )

    def _flush_steps(self, listener: Listener) -> None:
        if self._stage is not None:
            listener.stage(self._stage)
        if self._step is not None:
            listener.progress(*self._step)
        self._stage = self._step = None


def _parse(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _read_step(event: Mapping[str, Any]) -> tuple[int, int, float | None] | None:
    done, total, eta_s = event.get("done"), event.get("total"), event.get("eta_s")
    if not (isinstance(done, int) and isinstance(total, int)):
        return None
    return done, total, float(eta_s) if isinstance(eta_s, (int, float)) else None


def _shorten(texts: list[str]) -> str:
    if len(texts) <= _MOST_TEXTS:
        return "\n".join(texts)
    half = _MOST_TEXTS // 2
    left_out = len(texts) - 2 * half
    return "\n".join([*texts[:half], f"… {left_out} more lines …", *texts[-half:]])


def _check_hello(hello: Mapping[str, Any], minimum: str) -> None:
    version, protocol = str(hello.get("version", "unknown")), hello.get("protocol")
    if protocol != PROTOCOL:
        raise EngineTooOld(
            f"The engine (alps-geo {version}) speaks protocol {protocol}, this plugin {PROTOCOL}:"
            f" update the older of the two. {SET_UP_HINT}"
        )
    if version_key(version) < version_key(minimum):
        raise EngineTooOld(
            f"The engine is alps-geo {version}, but this plugin needs {minimum} or newer."
            f" {SET_UP_HINT}"
        )


def version_key(version: str) -> tuple[int, ...]:
    """Return a version's leading numbers, such as (0, 1, 0), for comparison."""
    numbers = []
    for part in version.split(".")[:3]:
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        numbers.append(int(digits or 0))
    return tuple(numbers)


def conclude(code: int, state: State) -> dict[str, Any]:
    """Return the result, or raise what became of the run."""
    if state.result is not None and code == 0:
        return state.result
    if state.cancelled is not None or state.stopped:
        raise EngineCancelled(state.cancelled or "stopped")
    if state.error is not None:
        values = state.error.get("values")
        raise EngineRefused(
            str(state.error.get("message", "unknown error")),
            str(state.error.get("code", "")),
            values if isinstance(values, dict) else None,
        )
    if state.hello is None:
        raise _no_engine(code, state)
    raise EngineCrashed(f"The engine {_how_it_ended(code)} without a result.{_last(state)}")


def _no_engine(code: int, state: State) -> EngineError:
    text = "\n".join(state.last_lines)
    if "No module named" in text and "alps_geo" in text:
        return EngineMissing(f"alps-geo is not installed in the chosen Python. {SET_UP_HINT}")
    return EngineCrashed(
        f"What was started is no alps-geo engine: it {_how_it_ended(code)} without a greeting."
        f" {SET_UP_HINT}{_last(state)}"
    )


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended (exit code {code})"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    memory = ", which often means that memory ran out" if name == "SIGKILL" else ""
    return f"was ended by the system (signal {name}{memory})"


def _last(state: State) -> str:
    if not state.last_lines:
        return ""
    return "\nIts last lines:\n" + "\n".join(state.last_lines)
