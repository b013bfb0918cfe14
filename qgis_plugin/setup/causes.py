"""Why an installation failed, in a plain sentence with the remedy; standard library only.

pip writes many lines and the reason is seldom in the last one. They stay in the log; people get a
sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .places import FOLDER_VARIABLE

#: Where the proxy is set, as QGIS calls it.
NETWORK_OPTIONS = "Settings ▸ Options ▸ Network"
_OFFLINE = "on a computer without a network, name a folder of wheels"
_VERSIONS = re.compile(r"requirement (\S+).*\(from versions: (.*)\)")


@dataclass(frozen=True)
class Cause:
    """A reason, and what to do.

    Attributes
    ----------
    pattern : str
        Regular expression of a line that gives it away.
    text : str
        For people; `{folder}` is where the environment was to lie.
    """

    pattern: str
    text: str


_DISK = (
    Cause(
        r"Errno 28\b|No space left on device|WinError 112\b|not enough space on the disk"
        r"|Errno 122\b|Disk quota exceeded",
        "The disk is full: make room where {folder} and the temporary folder lie, or name a folder"
        f" on another disk by the variable {FOLDER_VARIABLE} before QGIS starts",
    ),
    Cause(
        r"WinError 206\b|Long Path|Errno 36\b|File name too long",
        "Paths get longer than this system allows: name a folder with a short path by the variable"
        f" {FOLDER_VARIABLE} before QGIS starts",
    ),
    Cause(
        r"WinError 32\b|used by another process",
        "Another program, often a virus scanner, holds a file in {folder}: try again, or have the"
        " folder left out of its scans",
    ),
    Cause(
        r"Errno 30\b|Read-only file system|Errno 13\b|Permission denied|WinError 5\b"
        r"|Access is denied|Errno 1\b|Operation not permitted",
        "You may not write to {folder}: get that right, or name a folder of your own by the"
        f" variable {FOLDER_VARIABLE} before QGIS starts",
    ),
)
_NETWORK = (
    Cause(
        r"\b407\b.*Proxy|Proxy Authentication Required",
        "The proxy asks for a user and a password, or refuses those it got: set them in"
        f" {NETWORK_OPTIONS}",
    ),
    Cause(
        r"Tunnel connection failed: (?:403|5\d\d)",
        "The proxy does not let this computer through to the server: have the network's"
        f" administrators allow pypi.org, files.pythonhosted.org and download.pytorch.org, or"
        f" {_OFFLINE}",
    ),
    Cause(
        r"dependencies for SOCKS support",
        "Python's installer does not work with a SOCKS proxy: set an HTTP proxy in"
        f" {NETWORK_OPTIONS}, or {_OFFLINE}",
    ),
    Cause(
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|ssl certificate|SSLError",
        "The server's certificate is not trusted: often a firewall or virus scanner opens encrypted"
        " connections; get its certificate (a .pem file) from the network's administrators, name"
        " it by the variable REQUESTS_CA_BUNDLE, and start QGIS again",
    ),
    Cause(
        r"ProxyError|Cannot connect to proxy",
        f"The proxy does not answer: correct it in {NETWORK_OPTIONS} (or the variable HTTPS_PROXY)",
    ),
    Cause(
        r"NewConnectionError|Failed to establish a new connection|NameResolutionError"
        r"|getaddrinfo failed|name resolution|Name or service not known|ConnectTimeout"
        r"|ReadTimeout|Read timed out|Connection (?:refused|reset|aborted)|ConnectionResetError"
        r"|Network is unreachable|No route to host|IncompleteRead|RemoteDisconnected",
        "The server of Python packages cannot be reached: check the network; behind a proxy, set it"
        f" in {NETWORK_OPTIONS}; {_OFFLINE}",
    ),
    Cause(
        r"HTTP error \d|\b[45]\d\d (?:Client|Server) Error",
        "The server of Python packages refuses the request: try again later; behind a proxy or a"
        f" mirror, ask its administrators; or {_OFFLINE}",
    ),
)
_PACKAGES = (
    Cause(
        r"DO NOT MATCH THE HASHES|BadZipFile|has an invalid wheel|is not a valid wheel",
        "What arrived is damaged: try again; if it happens again, something on the way changes"
        " downloads, and the network's administrators can tell what",
    ),
    Cause(
        r"Failed building wheel|subprocess-exited-with-error|metadata-generation-failed"
        r"|Microsoft Visual C\+\+",
        "A package is not to be had ready-made for this Python and system: choose another Python,"
        " from 3.10 to 3.13 and of 64 bits",
    ),
    Cause(
        r"ResolutionImpossible|conflicting dependencies",
        "The packages do not fit each other: choose another Python, or a newer folder of wheels",
    ),
    Cause(
        r"ensurepip is not available|No module named '?(?:ensurepip|venv)",
        "This Python cannot make environments: install its venv (on Debian and Ubuntu: apt-get"
        " install python3-venv), or choose another",
    ),
    Cause(r"MemoryError", "Memory ran out: close other programs and try again"),
)


def explain(lines: Sequence[str], folder: str, *, offline: bool = False) -> str:
    """Return why an installation failed, for people.

    Parameters
    ----------
    lines : sequence of str
        What the programs wrote.
    folder : str
        Where the environment was to lie.
    offline : bool
        Whether it was made from a folder of wheels.

    Returns
    -------
    str
        Empty where the lines do not give it away.
    """
    # A network that came back leaves lines as well, so what ends an installation comes first.
    found = _first(_DISK, lines) or _first(_PACKAGES, lines)
    missing = next((match for match in map(_VERSIONS.search, lines) if match), None)
    if not found and missing is not None and (offline or missing[2] != "none"):
        return _missing(missing[1], missing[2], offline=offline)
    found = found or _first(_NETWORK, lines)
    if not found and missing is not None:
        found = f"The server of Python packages has no {missing[1]}, or keeps it back: {_OFFLINE}"
    return found.format(folder=folder)


def explain_error(error: OSError, folder: str) -> str:
    """Return why files could not be written, for people."""
    return explain([str(error)], folder) or f"{folder} cannot be written: {error}"


def _first(causes: Iterable[Cause], lines: Sequence[str]) -> str:
    text = "\n".join(lines)
    return next((item.text for item in causes if re.search(item.pattern, text)), "")


def _missing(name: str, versions: str, *, offline: bool) -> str:
    others = "" if versions == "none" else f" (there are only {_shorten(versions)})"
    if offline:
        return (
            f"The folder of wheels has no {name} for this Python and system{others}: collect the"
            " wheels again, on a computer with the same system and the same version of Python"
        )
    return (
        f"There is no {name} for this Python and system{others}: choose another Python, from 3.10"
        " to 3.13 and of 64 bits"
    )


def _shorten(versions: str) -> str:
    names = versions.split(", ")
    return versions if len(names) <= 3 else f"… {', '.join(names[-3:])}"
