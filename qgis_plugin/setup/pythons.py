"""Pythons that an environment can be made from; standard library only.

`sys.executable` is QGIS itself on Windows and macOS, so interpreters are looked for where they
belong, and asked.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..environment import clean_environment
from .processes import run_lines

OLDEST, NEWEST = (3, 10), (3, 13)
_QUESTION = (
    "import importlib.util, json, sys;"
    " print(json.dumps([list(sys.version_info[:3]), sys.prefix != sys.base_prefix,"
    " bool(importlib.util.find_spec('ensurepip') and importlib.util.find_spec('venv'))]))"
)


@dataclass(frozen=True)
class Python:
    """An interpreter.

    Attributes
    ----------
    path : str
    version : tuple of int
        Such as (3, 11, 2).
    makes_environments : bool
        False where `venv` or `ensurepip` are not installed.
    """

    path: str
    version: tuple[int, ...]
    makes_environments: bool

    @property
    def problem(self) -> str:
        """Why no environment can be made from it, with the remedy; empty where one can."""
        number = ".".join(map(str, self.version[:2]))
        if not OLDEST <= self.version[:2] <= NEWEST:
            return f"Python {number} ({self.path}) will not do: 3.10 to 3.13 are needed"
        if not self.makes_environments:
            remedy = f"; as root: apt-get install python{number}-venv" if _is_debian() else ""
            return f"Python {number} ({self.path}) cannot make environments{remedy}"
        return ""


def _is_debian() -> bool:
    return Path("/etc/debian_version").exists()


def ask(path: str) -> Python | None:
    """Return what an interpreter says of itself; None if it is none."""
    answer: list[str] = []
    try:
        code = run_lines([path, "-I", "-c", _QUESTION], clean_environment(), answer.append)
        version, _, can = json.loads(answer[-1])
    except (OSError, ValueError, IndexError):
        return None
    return Python(path, tuple(version), can) if code == 0 else None


def find_pythons() -> Iterator[Python]:
    """Yield interpreters that will do, the one of QGIS first."""
    seen = set()
    for path in _candidates():
        key = str(Path(path).resolve())
        if key in seen or not Path(path).is_file():
            continue
        seen.add(key)
        python = ask(path)
        if python is not None and not python.problem:
            yield python


def _candidates() -> Iterator[str]:
    base = Path(sys.base_prefix)
    number = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.platform == "win32":
        yield from (str(base / name) for name in ("python.exe", "python3.exe"))
    else:
        yield from (str(base / "bin" / name) for name in (f"python{number}", "python3"))
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        yield shutil.which(f"python3.{minor}") or ""
    yield shutil.which("python3") or ""
    yield shutil.which("python") or ""
