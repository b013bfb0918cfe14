"""The run folder: records come back as they were, and other runs are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alps_geo._files import replacing
from alps_geo.errors import OutputError, RunError
from alps_geo.features.pooling import Features
from alps_geo.models.masks import GateCounts, Masks
from alps_geo.run.folder import RunFolder
from alps_geo.scenes.spans import Spans
from alps_geo.segments.tile_results import TileResult, read_masks, read_tile, write_tile


def make_record(count: int) -> TileResult:
    rng = np.random.default_rng(count)
    pictures = rng.random((count, 20, 30)) < 0.5
    values = rng.normal(size=(count, 3)).astype(np.float32)
    masks = Masks.from_spans(Spans.from_bitmaps(pictures), rng.random(count), rng.random(count))
    extra = Spans.from_bitmaps(rng.random((1, 20, 30)) < 0.1)
    features = Features(values, ("a", "b", "c"), np.array([1, 2, 0.5], np.float32))
    colors = rng.uniform(0, 255, (count, 3)).astype(np.float32)
    counts = GateCounts(9, 1, 2, count)
    return TileResult(masks, features, extra, extra, counts, {"read": 0.5}, colors)


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_record_comes_back_as_it_was_written(tmp_path: Path, count: int) -> None:
    path = tmp_path / "00000_00000.parquet"
    record = make_record(count)
    write_tile(path, record)
    again = read_tile(path)
    for name in ("predicted_iou", "stability", "points"):
        assert (getattr(again.masks, name) == getattr(record.masks, name)).all()
    for spans, other in (
        (again.masks.spans, record.masks.spans),
        (again.gated, record.gated),
        (again.invalid, record.invalid),
        (read_masks(path).spans, record.masks.spans),
    ):
        assert (spans.offsets == other.offsets).all()
        assert (spans.values == other.values).all()
    assert (again.features.values == record.features.values).all()
    assert again.features.names == record.features.names
    assert (again.features.weights == record.features.weights).all()
    assert (again.colors == record.colors).all()
    assert (again.counts, again.seconds) == (record.counts, record.seconds)


@pytest.mark.parametrize("damage", [b"", b"PAR1 and nonsense"], ids=["empty", "nonsense"])
def test_a_damaged_record_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "tile.parquet"
    path.write_bytes(damage)
    with pytest.raises(RunError, match=r"tile.parquet cannot be read.*remove it"):
        read_tile(path)


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tile.parquet"
    pq.write_table(pa.table({"stability": [1.0]}), path)
    for read in (read_tile, read_masks):
        with pytest.raises(RunError, match=r"tile.parquet cannot be read: it is no tile's result"):
            read(path)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError("half-way")

    with pytest.raises(ZeroDivisionError, match="half-way"):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == ["result.txt"]
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "result.txt"
    with (
        pytest.raises(OutputError, match=r"cannot write .*result.txt"),
        replacing(path) as temporary,
    ):
        temporary.write_text("x")


@pytest.mark.parametrize(
    ("scenes", "said"),
    [
        ({"b": {"fingerprint": "1"}}, r"another run \(of a, not of b\); choose"),
        ({"a": {"fingerprint": "1"}, "b": {"fingerprint": "1"}}, "of a, not of a, b"),
        ({"a": {"fingerprint": "2"}}, "of another a: the image, or the area, is not the same"),
    ],
    ids=["other", "more", "changed"],
)
def test_a_run_of_other_scenes_is_named_by_them(
    tmp_path: Path, scenes: dict[str, object], said: str
) -> None:
    folder = RunFolder(tmp_path / "out")
    folder.start({"scenes": {"a": {"fingerprint": "1"}}, "stretch": [1]}, overwrite=False)
    with pytest.raises(RunError, match=said):
        folder.start({"scenes": scenes, "stretch": [2]}, overwrite=False)


def test_a_folder_goes_on_with_its_own_run_only(tmp_path: Path) -> None:
    manifest = {"settings": {"tiles": {"size": 64}}, "model": "builtin"}
    folder = RunFolder(tmp_path / "out")
    assert folder.start(manifest, overwrite=False) is False
    assert folder.start(manifest, overwrite=False) is True
    other = {"settings": {"tiles": {"size": 128}}, "model": "builtin"}
    with pytest.raises(RunError, match="`tile_size` is 64 there, and 128 now"):
        folder.start(other, overwrite=False)
    (folder.path / "left").write_text("from before")
    assert folder.start(other, overwrite=True) is False
    assert not (folder.path / "left").exists()
    assert folder.read_manifest()["settings"] == other["settings"]


def test_overwrite_never_removes_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("mine")
    with pytest.raises(RunError, match="not a run of alps-geo"):
        RunFolder(tmp_path).start({}, overwrite=True)
    assert (tmp_path / "photo.jpg").exists()


def test_a_folder_without_a_run_or_with_a_damaged_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no run"):
        RunFolder(tmp_path).read_manifest()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        RunFolder(tmp_path).read_manifest()
