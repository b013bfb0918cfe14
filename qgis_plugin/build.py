"""Makes the installable zip, and the settings the plugin is made from; not part of the zip.

    python -m qgis_plugin.build [-o DIR]

Needs alps-geo: names, defaults, limits and help texts of the algorithms' parameters are those of
its settings. They are kept in `settings.json`, because the plugin must not import the engine.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import typing
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import alps_geo
from alps_geo.models.weights import KNOWN, MASKS
from alps_geo.settings import all_settings, declared_types, json_key, option_name

#: The one folder in the zip: it must be called neither `alps_geo`, nor like another plugin.
FOLDER = "alps_geo_qgis"
SOURCE = Path(__file__).resolve().parent
SETTINGS_FILE = SOURCE / "settings.json"
_NOT_SHIPPED = {"build.py"}
_SHIPPED = {".py", ".json", ".svg"}
# The oldest time a zip can tell, so that the same source gives the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)
# Models that need no weights come before those that do.
_WITHOUT_WEIGHTS = ("auto", "builtin")


def describe_settings() -> dict[str, Any]:
    """Return what the plugin needs to know of the engine, as JSON values."""
    return {
        "version": alps_geo.__version__,
        "models": [
            *({"name": name} for name in _WITHOUT_WEIGHTS),
            *(
                {"name": known.name, "size": known.size, "licence": known.licence}
                for known in KNOWN
                if known.kind == MASKS
            ),
        ],
        "settings": [_describe(part, item) for part, item in all_settings()],
    }


def _describe(part: dataclasses.Field[Any], item: dataclasses.Field[Any]) -> dict[str, Any]:
    (kind, *_), optional = declared_types(part, item)
    flags = item.metadata.get("flags", (f"--{item.name.replace('_', '-')}",))
    kept = {
        key: item.metadata[key]
        for key in ("choices", "metavar", "least", "most")
        if key in item.metadata
    }
    return {
        "name": option_name(item),
        "flag": max((flag.split("/")[0] for flag in flags), key=len),
        **({"off": flags[0].split("/")[1]} if "/" in flags[0] else {}),
        "section": json_key(part),
        "type": _type_name(kind),
        "optional": optional,
        "default": item.default,
        "help": item.metadata["help"],
        **kept,
    }


def _type_name(kind: Any) -> str:  # noqa: ANN401 - types have no type in common
    """Return the name of a type; `ints` and `floats` for tuples of them."""
    if typing.get_origin(kind) is tuple:
        return f"{typing.get_args(kind)[0].__name__}s"
    return str(kind.__name__)


def settings_text() -> str:
    """Return the content of `settings.json`."""
    return json.dumps(describe_settings(), indent=1, ensure_ascii=False) + "\n"


def shipped_files() -> Iterator[tuple[str, Path]]:
    """Yield each file of the plugin as (name in the zip, path)."""
    yield f"{FOLDER}/LICENSE", SOURCE / "LICENSE"
    yield f"{FOLDER}/metadata.txt", SOURCE.parent / "metadata.txt"
    for path in sorted(SOURCE.rglob("*")):
        name = path.relative_to(SOURCE).as_posix()
        if path.suffix in _SHIPPED and name not in _NOT_SHIPPED and path.is_file():
            yield f"{FOLDER}/{name}", path


def build(folder: Path) -> Path:
    """Write `settings.json` and the zip.

    Parameters
    ----------
    folder : Path
        Where the zip goes; made if it is missing.

    Returns
    -------
    Path
        The zip, `alps_geo_qgis-VERSION.zip`.
    """
    SETTINGS_FILE.write_text(settings_text(), encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{FOLDER}-{alps_geo.__version__}.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in shipped_files():
            info = zipfile.ZipInfo(name, _TIME)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, path.read_bytes())
    return target


def main() -> None:
    """Run `python -m qgis_plugin.build`."""
    parser = argparse.ArgumentParser(description="Make the QGIS plugin's installable zip.")
    parser.add_argument("-o", "--output", type=Path, default=Path("dist"), metavar="DIR")
    sys.stdout.write(f"{build(parser.parse_args().output)}\n")


if __name__ == "__main__":
    main()
