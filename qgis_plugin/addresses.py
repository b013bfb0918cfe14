"""Files as URIs; standard library only."""

from __future__ import annotations

from pathlib import PurePath
from urllib.parse import quote


def sqlite_uri(path: PurePath) -> str:
    """Return the URI under which SQLite opens an absolute path for reading only.

    Parameters
    ----------
    path : PurePath
        On a drive or on a network's share, for which SQLite wants an empty host.
    """
    text = path.as_posix()
    return f"file://{'' if text.startswith('/') else '/'}{quote(text, safe='/:')}?mode=ro"
