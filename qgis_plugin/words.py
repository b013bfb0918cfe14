"""The engine's messages in words of QGIS.

The engine names settings and commands as Python has them, in backquotes: `n_classes`, `model=auto`,
`classify()`, `download(sam-vit-b)`. Here they get the titles of parameters and the names of
algorithms, and files that the plugin wrote itself get the names of the layers they were made from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .parameters import all_names, setting

_NAMED = re.compile(r"`(\w+)(?:=([^`]*)|(\()([^`]*)\))?`")
#: The algorithm that does what a command of the engine does.
ALGORITHMS = {
    "label": "Label scene",
    "info": "Label scene",
    "classify": "Re-classify",
    "classes": "Name classes",
    "evaluate": "Evaluate labels",
    "download": "Download model",
    "list": "Download model",
    "add": "Download model",
    "verify": "Download model",
    "remove": "Download model",
}
#: Titles of parameters that stand for arguments of commands, not for settings.
TITLES = {
    "attribute": "Class field of the polygons",
    "layer": "Reference",
    "scene": "Labels",
    "ignore": "Classes to leave out",
    "names": "Classes",
    "colors": "Classes",
    "merges": "Join",
    "out": "Output folder",
    "aoi": "Area of interest",
    # Of commands that have no algorithm yet.
    "block": "Side of a block",
    "crs": "Coordinate reference system",
    "mmu": "Minimum mapping unit",
    "n": "Number of suggestions",
    "name_from": "Names from a reference",
    "output": "Output file",
    "patch_size": "Side of a patch",
    "split": "Split into training and validation",
    "undo": "Undo",
}


def in_qgis(text: str, files: Mapping[str, str] | None = None) -> str:
    """Return a message of the engine in words of QGIS.

    Parameters
    ----------
    text : str
    files : mapping of str to str, optional
        What the user calls files that they never saw, by path.
    """
    for path in sorted(files or {}, key=len, reverse=True):
        text = text.replace(path, (files or {})[path])
    return _NAMED.sub(_in_words, text)


def _in_words(found: re.Match[str]) -> str:
    name, value, is_call, arguments = found.groups()
    if is_call:
        words = ALGORITHMS.get(name, name.replace("_", " "))
        return f"“{words}”" + (f" ({arguments})" if arguments else "")
    return f"“{_title(name)}”" + (f": {value}" if value else "")


def _title(name: str) -> str:
    if name in TITLES:
        return TITLES[name]
    return setting(name).words if name in all_names() else name.replace("_", " ")
