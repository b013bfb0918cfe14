"""Passwords and tokens are neither shown nor stored."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alps_geo._redaction import redact
from alps_geo.errors import SceneError
from alps_geo.outputs.writing import write_record
from alps_geo.progress import RecordedProgress, Stopwatch
from alps_geo.run.record import describe_settings
from alps_geo.scenes.paths import join_command, quoted, shown_name
from alps_geo.settings import Settings

PATHS = [
    "https://me:s3cr3t@host/a.tif",
    "https://host/a.tif?token=s3cr3t",
    "/vsicurl/https://host/a.tif?sv=2&sig=s3cr3t%3D",
    "/vsicurl?url=https%3A%2F%2Fhost%2Fa.tif&header.Authorization=Bearer%20s3cr3t",
    "/vsizip/{/vsicurl/https://host/a.zip?sig=s3cr3t}/a.tif",
    "s3://key:s3cr3t@bucket/a.tif",
    'NETCDF:"https://me:s3cr3t@host/a.nc?sig=s3cr3t":band',
    "PG:dbname=gis user=me password=s3cr3t",
    "PG:dbname=gis password='s3cr3t and more s3cr3t'",
    "tls://me:s3cr3t@scheduler:8786",
    "https://host/a.tif#access_token=s3cr3t",
    "https://host/a.tif?name=a b&sig=s3cr3t",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_secret_of_a_path_gets_anywhere(path: str, tmp_path: Path) -> None:
    listener = RecordedProgress()
    clock = Stopwatch(listener)
    clock.message(f"{shown_name(path)}: is read")
    clock.warning(f"cannot read '{path}', sorry")
    settings = Settings.from_options(aoi=path, checkpoint=path, classes=path)
    write_record(tmp_path / "run.json", {"path": path, "reasons": [f"'{path}' is odd"]})
    texts = [
        shown_name(path),
        redact(f"GDAL says: '{path}' not found"),
        str(SceneError(f"'{path}': cannot be opened")),
        *listener.messages,
        *listener.warnings,
        *clock.warnings,
        json.dumps(describe_settings(settings)),
        (tmp_path / "run.json").read_text("utf-8"),
    ]
    if " " in path and "://" in path:
        texts = [shown_name(path)]  # in a text, nobody can tell where an address with spaces ends
    assert [text for text in texts if "s3cr3t" in text] == []


@pytest.mark.parametrize(
    "text",
    [
        "/data/what?.tif",
        "C:\\data\\what #1.tif",
        "https://host/a.tif",
        "/vsis3/bucket/a.tif",
        "scene.tif: n_classes=8 is too many; see https://host/page for more (or ask)",
        "me@host has no file",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact(text) == shown_name(text) == text


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_names_that_are_no_text_can_be_recorded(tmp_path: Path) -> None:
    write_record(tmp_path / "run.json", {"path": "sc\udcffne.tif"})
    record = json.loads((tmp_path / "run.json").read_text("utf-8"))
    assert record == {"path": "sc\\udcffne.tif"}


@pytest.mark.skipif("sys.platform == 'win32'")
def test_commands_to_copy_quote_what_the_shell_would_take_apart() -> None:
    assert quoted(Path("my folder/a$b")) == "'my folder/a$b'"
    assert quoted("out") == "out"
    assert join_command(["alps-geo", "label", "a b.tif"]) == "alps-geo label 'a b.tif'"


def test_remedies_name_no_program_that_pip_does_not_bring() -> None:
    root = Path(__file__).resolve().parents[1]
    wrong = re.compile(
        r"gdal(warp|_translate|_edit|info|addo|buildvrt)|ogr2ogr|ogrinfo|gdal raster"
    )
    found = [
        f"{path.name}: {match[0]}"
        for folder in ("alps_geo", "cli", "qgis_plugin")
        for path in (root / folder).rglob("*.py")
        for match in wrong.finditer(path.read_text("utf-8"))
    ]
    assert found == []
