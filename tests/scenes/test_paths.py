"""Paths: names of a scene's files, and whether two paths are one raster."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alps_geo.scenes.paths import is_same, unique_stem


def on_a_disk_that_ignores_case(stem: str) -> str:
    """Return what decides there which file a name is."""
    return unicodedata.normalize("NFD", stem).casefold()


@given(st.lists(st.text("aAbBäÄßẞſsσςK\u212ae\u0301éİ_2", min_size=1, max_size=4), max_size=12))
def test_no_two_stems_are_one_file_on_any_disk(stems: list[str]) -> None:
    taken: list[str] = []
    for stem in stems:
        taken.append(unique_stem(stem, taken))
    assert len({on_a_disk_that_ignores_case(stem) for stem in taken}) == len(taken)


def test_a_stem_that_is_free_stays_as_it_is() -> None:
    assert unique_stem("Ort", ["ort_2", "Orte"]) == "Ort"
    assert unique_stem("Ort", ["ort", "ORT_2"]) == "Ort_3"


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("manifest.json", "manifest_json"),
        ("results-outdated", "results-outdated_2"),
        ("edits.parquet", "edits_parquet"),
        ("CON", "CON_2"),
        ("aux.north", "aux_north"),
        ("com1", "com1_2"),
    ],
)
def test_a_scene_does_not_get_a_name_that_stands_for_something_else(
    stem: str, expected: str
) -> None:
    assert unique_stem(stem, []) == expected


def test_a_raster_is_the_same_however_its_path_is_spelled(tmp_path: Path) -> None:
    raster, link = tmp_path / "a.tif", tmp_path / "b.tif"
    raster.write_bytes(b"pixels")
    link.symlink_to(raster)
    (tmp_path / "copy.tif").write_bytes(b"pixels")
    assert is_same(str(raster), f"{tmp_path}{os.sep}.{os.sep}a.tif")
    assert is_same(str(raster), str(link))
    assert not is_same(str(raster), str(tmp_path / "copy.tif"))
    assert not is_same("https://host/a.tif", "https://host/A.tif")
