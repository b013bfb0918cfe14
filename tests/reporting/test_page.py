"""The page of a run: whole, small, escaped, the same every time."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

import alps_geo
from alps_geo.classes.exemplars import KINDS
from alps_geo.errors import ReferenceDataError
from alps_geo.pipeline import classify, edit_classes, label
from alps_geo.progress import RecordedProgress
from alps_geo.reporting.page import MOST_BYTES, make_page
from alps_geo.reporting.sources import ClassSize, Exemplar, SceneSource, Source
from alps_geo.scenes.grid import Grid
from alps_geo.scenes.scene import open_scene
from alps_geo.scenes.stretch import Stretch
from alps_geo.settings import SceneSettings

from ..run.test_hand_work import base, label_it, out  # noqa: F401
from .pages import Page

CITED = {
    "https://arxiv.org/abs/2406.10855",
    "https://arxiv.org/abs/2304.02643",
    "https://github.com/alps-geo/alps-geo",
}


def read(folder: Path, name: str = "report.html") -> str:
    return (folder / name).read_text("utf-8")


def test_a_run_has_a_page_that_is_well_formed(out: Path) -> None:  # noqa: F811
    page = Page(read(out))
    assert len(set(page.ids)) == len(page.ids)
    assert page.texts["title"] == ["Class map of scene"]
    named = {tag: found for tag, found in page.starts if tag in ("html", "meta")}
    assert named["html"]["lang"] == "en"
    for tag, found in page.starts:
        if tag == "img":
            assert found["alt"]
        if tag in ("section", "div") and "aria-labelledby" in found:
            assert found["aria-labelledby"] in page.ids
    heads = [tag for tag, _ in page.starts if re.fullmatch("h[1-6]", tag)]
    assert heads[0] == "h1"
    levels = [int(tag[1]) for tag in heads]
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_a_page_loads_nothing(out: Path) -> None:  # noqa: F811
    page = Page(read(out))
    assert page.loaded
    assert all(address.startswith("data:") for address in page.loaded)
    assert set(page.links) <= CITED
    assert not [text for text in page.texts["style"] if "url(" in text or "@import" in text]
    policy = next(found for _, found in page.starts if "http-equiv" in found)
    assert (policy["content"] or "").startswith("default-src 'none'; img-src data:")


def test_a_page_has_classes_pictures_chips_and_coverage(out: Path) -> None:  # noqa: F811
    run, page = alps_geo.open(out), Page(read(out))
    alts = [found["alt"] or "" for tag, found in page.starts if tag == "img"]
    assert "The scene scene" in alts
    segments = run.segments()
    for kind in KINDS:
        shown = [alt for alt in alts if f", {kind}," in alt]
        assert shown
        for alt in shown:
            assert int(re.findall(r"\d+", alt)[0]) in set(segments.segment_id)
    cells = " ".join(page.texts["th"])
    assert all(name in cells for name in run.classes.name)
    total = segments.area_m2.sum() / 1e4
    assert f"{total:,.2f} ha" in read(out)
    assert "all" in page.texts["th"]


def test_names_of_users_are_text(out: Path) -> None:  # noqa: F811
    before = Page(read(out))
    hostile = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }} & ']]>"]
    edit_classes(out, names=dict(enumerate(hostile)))
    page = Page(read(out))
    count = [tag for tag, _ in before.starts].count
    for tag in ("script", "img", "style"):
        assert [each for each, _ in page.starts].count(tag) == count(tag)
    said = page.texts["th"] + page.texts["h3"]
    assert all(name in said for name in hostile)


def test_the_same_run_gives_the_same_bytes(out: Path) -> None:  # noqa: F811
    run = alps_geo.open(out)
    assert read(out).encode() == run.report(out / "again.html").read_bytes()
    assert run.report() == out / "report.html"
    assert read(out) == read(out, "again.html")
    assert alps_geo.report(out, out / "third.html").read_bytes() == read(out).encode()


def test_the_page_follows_the_classes(out: Path) -> None:  # noqa: F811
    edit_classes(out, names={1: "bare soil"}, colors={1: "#123456"})
    assert "bare soil" in Page(read(out)).texts["th"]
    assert "background:#123456" in read(out)
    classify(out, n_classes=3)
    assert "bare soil" not in read(out)
    assert "class_03" not in read(out)


def test_a_run_without_a_report_stays_without(base: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    run = label_it(base[0], tmp_path / "out", report=False)
    assert not run.report_path.exists()
    edit_classes(run, names={1: "roof"})
    assert not run.report_path.exists()
    # Whether there is one is no other run.
    progress = RecordedProgress()
    label_it(base[0], tmp_path / "out", progress=progress)
    assert any("nothing to do" in text for text in progress.messages)
    assert alps_geo.report(run).exists()
    # It would tell of classes that are gone.
    classify(run, n_classes=3)
    assert not run.report_path.exists()


def test_runs_of_versions_without_a_report_go_on(base: tuple[Path, Path], out: Path) -> None:  # noqa: F811
    record = json.loads((out / "run.json").read_text())
    del record["settings"]["outputs"]["report"]
    (out / "run.json").write_text(json.dumps(record))
    (out / "report.html").unlink()
    progress = RecordedProgress()
    label_it(base[0], out, progress=progress)
    assert any("nothing to do" in text for text in progress.messages)
    classify(out, n_classes=3)
    assert (out / "report.html").exists()


@pytest.mark.parametrize("change", ["moved", "another", "damaged"])
def test_without_its_scene_a_run_has_a_page_without_pictures(
    base: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    change: str,
) -> None:
    scene = Path(shutil.copy(base[0], tmp_path / "scene.tif"))
    run = label_it(scene, tmp_path / "out")
    if change == "moved":
        scene.unlink()
    elif change == "another":
        with rasterio.open(scene, "r+") as file:
            file.write(255 - file.read())
    else:
        scene.write_bytes(scene.read_bytes()[:2000])
    progress = RecordedProgress()
    classify(run, n_classes=3, progress=progress)
    (said,) = [text for text in progress.messages if "the report has no pictures" in text]
    assert "scene.tif" in said
    assert progress.warnings == []
    assert len(run.classes) == 3
    alts = [found["alt"] for tag, found in Page(read(run.folder)).starts if tag == "img"]
    assert alts == ["Its classes, in the colours of the table"]
    assert "could not be read when this report was made" in read(run.folder)


def test_a_scene_is_found_beside_the_results(
    base: tuple[Path, Path],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "work").mkdir()
    shutil.copy(base[0], tmp_path / "work" / "scene.tif")
    monkeypatch.chdir(tmp_path / "work")
    label_it(Path("scene.tif"), Path("out"))
    before = read(tmp_path / "work" / "out")
    monkeypatch.chdir(tmp_path)
    assert alps_geo.report("work/out", "page.html").read_text("utf-8") == before


def test_a_report_that_cannot_be_written_costs_nothing_else(out: Path) -> None:  # noqa: F811
    (out / "report.html").unlink()
    (out / "report.html").mkdir()
    progress = RecordedProgress()
    run = classify(out, n_classes=3, progress=progress)
    (said,) = progress.warnings
    assert "there is no report of these results" in said
    assert len(run.classes) == 3
    assert said in run.record["warnings"]


def test_a_page_that_somebody_changed_is_kept(out: Path) -> None:  # noqa: F811
    changed = read(out).replace("<h1>scene", "<h1>Our harbour")
    (out / "report.html").write_text(changed, "utf-8")
    progress = RecordedProgress()
    classify(out, n_classes=3, progress=progress)
    assert read(out, "report.kept-1.html") == changed
    assert "Our harbour" not in read(out)
    assert any("report.kept-1.html" in text for text in progress.warnings)
    classify(out, n_classes=4)
    assert not (out / "report.kept-2.html").exists()


def test_a_page_has_the_evaluation_that_it_is_given(out: Path, tmp_path: Path) -> None:  # noqa: F811
    run = alps_geo.open(out)
    truth = shutil.copy(run.label_paths[0], tmp_path / "truth.tif")
    found = alps_geo.evaluate(run, truth)
    page = run.report(tmp_path / "page.html", evaluation=found).read_text("utf-8")
    assert "Fit to a reference" in page
    assert "1.000" in Page(page).texts["td"]
    (tmp_path / "fit.json").write_text(json.dumps(found.to_dict()))
    again = alps_geo.report(run, tmp_path / "again.html", evaluation=tmp_path / "fit.json")
    assert again.read_text("utf-8") == page
    assert "Fit to a reference" not in read(out)


def test_an_evaluation_of_other_classes_is_refused(out: Path, tmp_path: Path) -> None:  # noqa: F811
    run = alps_geo.open(out)
    found = alps_geo.evaluate(run, run.label_paths[0])
    edit_classes(run, names={0: "water"})
    with pytest.raises(ReferenceDataError, match=r"of other classes .* was 'class_00'"):
        run.report(evaluation=found)
    for text, reason in (("{}", "no result of"), ("[1", "cannot be read"), ("[1]", "no result of")):
        (tmp_path / "fit.json").write_text(text)
        with pytest.raises(ReferenceDataError, match=reason):
            run.report(evaluation=tmp_path / "fit.json")


def test_several_scenes_have_a_part_each(base: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    other = Path(shutil.copy(base[0], tmp_path / "north.tif"))
    with rasterio.open(other, "r+") as file:
        file.write(file.read()[:, ::-1])
    run = label(
        [base[0], other], tmp_path / "out", model="builtin", n_classes=4, tile_size=256, overlap=64
    )
    page = Page(read(run.folder))
    assert {"scene", "north"} <= set(page.texts["h2"])
    alts = [found["alt"] or "" for tag, found in page.starts if tag == "img"]
    assert {"The scene scene", "The scene north"} <= set(alts)
    assert any("in north," in alt for alt in alts)
    assert page.texts["title"] == ["Class map of scene, north"]


def test_a_page_has_what_else_the_record_tells(out: Path) -> None:  # noqa: F811
    record = json.loads((out / "run.json").read_text())
    record["k_curve"] = {
        "method": "stability", "k": [4, 8, 16, 32], "score": [0.4, 0.6, 0.65, 0.5],
        "shuffled": [0.1, 0.1, 0.2, 0.2], "chosen": 16, "sure": 0.53,
    }  # fmt: skip
    record["novelty"] = {
        "drift": {"texture": 0.31, "cnn": 2.5}, "unknown_share": 0.125, "beyond_share": None,
    }  # fmt: skip
    (out / "run.json").write_text(json.dumps(record))
    page = Page(alps_geo.report(out, out / "page.html").read_text("utf-8"))
    assert page.loaded
    assert {"How many classes", "Like the scene of the classes?"} <= set(page.texts["h2"])
    assert page.texts["text"][:4] == ["4", "8", "16", "32"]
    paths = [found.get("class") for tag, found in page.starts if tag == "path"]
    assert paths.count("chosen") == paths.count("other") == paths.count("line") == 1
    assert "16 classes were found by the method stability, 53.0 % sure." in page.texts["p"]
    assert {"drift of cnn", "labelled area of no known class"} <= set(page.texts["th"])
    assert {"2.50", "12.5 %"} <= set(page.texts["td"])


def invent_exemplars(count: int) -> list[Exemplar]:
    rng = np.random.default_rng(0)
    ring = shapely.LineString(np.cumsum(rng.normal(size=(900, 2)), axis=0) + 400).buffer(3)
    return [
        Exemplar(number, kind, rank, 9 * number + rank, 0.5, ring)
        for number in range(count)
        for kind in KINDS
        for rank in range(1, 5)
    ]


def test_no_page_is_larger_than_it_may_be(tmp_path: Path) -> None:
    rng, side = np.random.default_rng(0), 1_700
    place = {"driver": "GTiff", "height": side, "width": side, "crs": "EPSG:32640"}
    place["transform"] = rasterio.Affine(1, 0, 3e5, 0, -1, 3e6)
    with rasterio.open(tmp_path / "noise.tif", "w", count=3, dtype="uint8", **place) as file:
        file.write(rng.integers(0, 256, (3, side, side), np.uint8))
    scene = open_scene(str(tmp_path / "noise.tif"), SceneSettings())
    scene = scene.with_stretch(Stretch.between((0, 255)))
    grid = Grid(None, rasterio.Affine.identity(), side, side)
    sizes = [ClassSize(number, 5, 10_000 - number, None, 0.5) for number in range(3_000)]

    def read_labels(*shape: int) -> NDArray[np.int64]:
        return rng.integers(0, 3_000, shape)

    source = SceneSource("noise", grid, sizes, invent_exemplars(3_000), read_labels, scene)
    coverage = {"total_px": side**2, "labelled_px": side**2}
    item = {
        "stem": "noise", "path": "noise.tif", "height": side, "width": side, "tiles": 4,
        "segments": {"visible": 9}, "masks": {"found": 9, "gated": 0}, "coverage": coverage,
    }  # fmt: skip
    record = {
        "scenes": [item], "settings": {}, "software": {"alps-geo": "0"}, "model": {"name": "fake"},
        "classes": [
            {"id": number, "name": "ä<&" * 80, "color": f"#{number:06x}"} for number in range(3_000)
        ],
        "warnings": ["w" * 500] * 300,
    }  # fmt: skip
    page = make_page(Source(record, [source]))
    assert len(page.encode()) <= MOST_BYTES
    # It is not small because something was left out.
    images = [found for tag, found in Page(page).starts if tag == "img"]
    assert len(images) == 302
    assert "and 2,800 smaller classes" in page
