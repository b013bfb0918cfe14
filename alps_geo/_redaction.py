"""Texts without secrets: addresses without passwords and tokens; standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping

_USER = re.compile(r"(://)[^/\s@'\"<>]*@")
# GDAL's own names of addresses, such as /vsicurl/https://..., may hold others in braces.
_QUERY = re.compile(r"((?:://|/vsi)[^\s?#'\"<>]*)[?#][^\s'\"<>}]*")
_PAIR = re.compile(
    r"\b(pass(?:word|wd)?|pwd|userpwd|account_?key|[\w-]*(?:token|secret|signature|api_?key)|sig)"
    r"(\s*=\s*)('[^']*'|\"[^\"]*\"|[^\s&,;'\"]+)",
    re.IGNORECASE,
)


def redact_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return values of a message, its texts without secrets."""
    return {
        name: redact(value) if isinstance(value, str) else value for name, value in values.items()
    }


def redact(text: str) -> str:
    """Return a text without what opens doors: of addresses, the user, the password and the query.

    Parameters
    ----------
    text : str
        A path, or a message that has paths in it. What is no address stays as it is.
    """
    if "://" in text or "/vsi" in text:
        text = _QUERY.sub(r"\1", _USER.sub(r"\1", text))
    return _PAIR.sub(r"\1\2***", text) if "=" in text else text
