"""A folder of wheels to install the engine from, without a network and in seconds.

alps-geo's own wheel is built from this checkout. What it needs is there already, in the Python that
runs the tests; for each of these packages a small wheel with the same name, version and
requirements says where they lie. So pip does all it does for a user: it resolves, installs and
refuses what does not fit; only the gigabytes are not copied.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Without a network: setuptools is there, it is in [dev].
_PIP_WHEEL = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation")
_KEPT = ("name", "version", "requires-dist", "requires-python", "provides-extra")


def make_wheels(folder: Path) -> Path:
    """Fill a folder with wheels of alps-geo and of all that is installed beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [*_PIP_WHEEL, "--wheel-dir", str(folder), str(ROOT)],
        check=True,
        timeout=120,
        capture_output=True,
    )
    for item in _installed().values():
        _write_stand_in(folder, item)
    return folder


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed() -> dict[str, metadata.Distribution]:
    """Return all other installed packages by name; the newest, where environments are stacked."""
    found: dict[str, metadata.Distribution] = {}
    for item in metadata.distributions():
        name = _normal(item.metadata["Name"])
        if name not in found or _numbers(item) > _numbers(found[name]):
            found[name] = item
    return {name: item for name, item in found.items() if name not in ("alps-geo", "pip")}


def _numbers(item: metadata.Distribution) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", item.version)]


def _write_stand_in(folder: Path, found: metadata.Distribution) -> None:
    name, version = _normal(found.metadata["Name"]).replace("-", "_"), found.version
    info = f"{name}-{version}.dist-info"
    head = [f"{key}: {value}" for key, value in found.metadata.items() if key.lower() in _KEPT]
    files = {
        f"alps_geo_stand_in_{name}.pth": f"{Path(str(found.locate_file('')))}\n",
        f"{info}/METADATA": "\n".join(["Metadata-Version: 2.1", *head]) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


if __name__ == "__main__":
    make_wheels(Path(sys.argv[1]))
