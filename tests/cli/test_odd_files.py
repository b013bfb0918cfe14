"""Odd and broken files through the whole command: a result, or one line that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from alps_geo.cli.main import cli

# 62 Mpx and paletted: refused, because it holds classes already (docs/design.md section 4).
REFUSED_BY_DESIGN = {"paletted_7168x8704.tif", "multipage.tiff"}
SLOW = {"rotated_sar_umbra.tiff"}
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "odd"


def expectations() -> list[tuple[str, str]]:
    """Return (file, expected outcome), empty where the shared files are not at hand."""
    listing = SHARED / "expected.json"
    if not listing.exists():
        return []
    cases = json.loads(listing.read_text())
    return [
        (case["file"], "refuse" if case["file"] in REFUSED_BY_DESIGN else case["expect"])
        for case in cases
    ]


def test_the_shared_odd_files_are_at_hand(shared_data: Path) -> None:
    assert len(expectations()) > 25


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(*case, id=case[0], marks=pytest.mark.slow if case[0] in SLOW else ())
        for case in expectations()
    ],
)
def test_an_odd_file_is_labelled_or_refused_in_one_line(
    name: str, expected: str, tmp_path: Path
) -> None:
    chosen = ["--model", "builtin", "--features", "texture"]
    arguments = ["label", str(SHARED / name), "-o", str(tmp_path / "out"), *chosen]
    outcome = CliRunner().invoke(cli, [*arguments, "-k", "2"])
    if expected == "refuse":
        assert outcome.exit_code in (1, 2)
    if outcome.exit_code:
        assert outcome.exit_code in (1, 2), outcome.output
        assert expected in ("refuse", "either"), outcome.output
        last = outcome.stderr.strip().splitlines()[-1]
        assert last.startswith("Error: ")
        assert name in last or "--n-classes is 2" in last
        assert "Traceback" not in outcome.stderr
        assert not (tmp_path / "out" / "labels.tif").exists()
    else:
        assert (tmp_path / "out" / "labels.gpkg").exists()
        assert (tmp_path / "out" / "run.json").exists()
    if expected == "label+warn":
        assert "georeference" in outcome.stderr
