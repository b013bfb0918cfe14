"""One way to a file's place, which waits for virus scanners on Windows, and Windows' processes."""

import ast
import sys
from pathlib import Path

import pytest

from alps_geo import _files as replacement
from alps_geo._files import move_into_place, replacing
from alps_geo.run import pools as executors

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def scanner(monkeypatch):
    """Return a function that makes a scanner hold a file for so many tries; it lists the waits."""
    real = Path.replace

    def hold(times, platform="win32"):
        waits, refused = [], []

        def refuse(source, target):
            if len(refused) < times:
                refused.append(source)
                raise PermissionError(13, "in use", str(target))
            real(source, target)

        monkeypatch.setattr(Path, "replace", refuse)
        monkeypatch.setattr(replacement.time, "sleep", waits.append)
        monkeypatch.setattr(sys, "platform", platform)
        return waits

    return hold


@pytest.mark.parametrize("times", [0, 1, len(replacement._WAITS_S)])
def test_windows_waits_for_who_reads_a_file_that_was_just_written(times, scanner, tmp_path):
    waits = scanner(times)
    with replacing(tmp_path / "tile.parquet") as part:
        part.write_text("new")
    assert (tmp_path / "tile.parquet").read_text() == "new"
    assert waits == list(replacement._WAITS_S[:times])
    assert [path.name for path in tmp_path.iterdir()] == ["tile.parquet"]


def test_it_does_not_wait_for_ever(scanner, tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "part").write_text("new")
    waits = scanner(99)
    with pytest.raises(PermissionError, match="in use"):
        move_into_place(tmp_path / "part", tmp_path / "old")
    assert sum(waits) < 5
    assert (tmp_path / "old").read_text() == "old"


def test_elsewhere_a_refusal_is_one(scanner, tmp_path):
    (tmp_path / "part").write_text("new")
    waits = scanner(1, "linux")
    with pytest.raises(PermissionError, match="in use"):
        move_into_place(tmp_path / "part", tmp_path / "old")
    assert waits == []


def _moves(path):
    """Yield the lines of a module in which a file takes another's name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            module = owner.id if isinstance(owner, ast.Name) else ""
            by_module = (module, node.func.attr) in {
                ("os", "replace"),
                ("os", "rename"),
                ("shutil", "move"),
            }
            # Text has `replace` too, but with two arguments.
            by_path = node.func.attr == "replace" and len(node.args) == 1 and not node.keywords
            if by_module or by_path:
                yield f"{path.name}:{node.lineno}"


def test_every_file_goes_to_its_place_in_this_way():
    modules = [path for name in ("alps_geo", "cli") for path in (ROOT / name).rglob("*.py")]
    found = [move for path in modules for move in _moves(path) if path.stem != "_files"]
    assert found == []


@pytest.mark.parametrize(
    ("platform", "asked", "given"),
    [("win32", 200, 61), ("win32", 61, 61), ("win32", 2, 2), ("linux", 200, 200)],
)
def test_windows_gets_as_many_processes_as_it_allows(platform, asked, given, monkeypatch):
    made = []

    class FakeExecutor:
        def __init__(self, workers, **others):
            made.append(workers)

        def shutdown(self, **others):
            pass

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(executors, "ProcessPoolExecutor", FakeExecutor)
    with executors._open_processes(asked) as pool:
        assert pool.room() == 2 * given
    assert made == [given]
