"""Pythons that only play their part: pip says what was recorded, an engine what it is told."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

_SCRIPT = """#!{python} -I
import json, os, pathlib, shutil, sys
arguments = sys.argv[1:]
if "venv" in arguments:
    if {venv!r}:
        sys.exit({venv!r})
    program = pathlib.Path(arguments[-1]) / "bin" / "python"
    program.parent.mkdir(parents=True)
    shutil.copy(__file__, program)
elif "pip" in arguments:
    pathlib.Path({seen!r}).write_text(json.dumps(dict(os.environ)))
    print({pip!r})
    sys.exit({code})
elif "import alps_geo" in arguments[-1]:
    print({facts!r})
else:
    os.execv({python!r}, [{python!r}, *arguments])
"""
FACTS = {
    "python": "3.11.2",
    "protocol": 1,
    "models": [],
    "models_folder": "/models",
    "torch": "2.0",
    "gdal": "3.9",
    "device": "CPU",
}


def make_python(
    path: Path, version: str, pip: Sequence[str] = (), code: int = 0, venv: str = ""
) -> Path:
    """Write a program that passes for a Python with an engine of some version.

    Parameters
    ----------
    path : Path
    version : str
        Of alps-geo in it, and in the environments made from it.
    pip : sequence of str
        What pip says.
    code : int
        How pip ends.
    venv : str
        Why no environments can be made; empty where they can.
    """
    facts = json.dumps({**FACTS, "version": version})
    # What pip was told by variables is beside the program.
    seen = str(path.with_suffix(".json"))
    text = _SCRIPT.format(
        python=sys.executable, venv=venv, pip="\n".join(pip), code=code, facts=facts, seen=seen
    )
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
