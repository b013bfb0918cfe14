"""Compiled code is kept where there is room for it, and done without where there is none."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import alps_geo
from alps_geo.models import compilation

ROOT = Path(alps_geo.__file__).parent
# Every module with functions that numba compiles, and one of them at work.
CODE = """
import numpy as np
from alps_geo.models import compilation
from alps_geo.models.sam.cpu import attention, image_tokens, upscaling
from alps_geo.models.sam.logits import _classify
print(_classify(np.ones((4, 4), np.float32), np.zeros(3, np.float32)).shape)
print(compilation.cache_note())
"""


def _run(**variables):
    return subprocess.run(
        [sys.executable, "-c", CODE],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **variables},
    )


def test_without_a_place_for_a_cache_sam_runs_and_says_so_once(tmp_path):
    # A file in place of a folder, because root may write to every folder; and no other place.
    (tmp_path / "file").touch()
    result = _run(
        NUMBA_CACHE_DIR=str(tmp_path / "file" / "cache"),
        NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator",
        NUMBA_DISABLE_JIT="0",
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    shape, note = result.stdout.splitlines()
    assert shape == "(4, 4)"
    assert "cannot be kept" in note
    assert "NUMBA_CACHE_DIR" in note


def test_with_a_place_code_is_kept_and_nothing_said(tmp_path):
    result = _run(NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    assert result.stdout.splitlines()[1:] == [""], result.stderr
    assert list((tmp_path / "cache").rglob("*.nbi"))


def test_a_full_disk_does_not_stop_what_is_compiled(monkeypatch):
    def full(signature, data):
        raise OSError(28, "No space left on device")

    class FullCache:
        save_overload = staticmethod(full)

    cache = FullCache()
    monkeypatch.setattr(compilation, "_UNCACHED", [])
    compilation._bear_with_full_disks(cache, "function")
    cache.save_overload(None, None)
    assert "NUMBA_CACHE_DIR" in compilation.cache_note()


def test_other_errors_of_numba_are_not_hidden(monkeypatch):
    def fail(**options):
        raise RuntimeError("something else")

    monkeypatch.setattr(compilation, "njit", fail)
    with pytest.raises(RuntimeError, match="something else"):
        compilation.compiled(len)


def test_nothing_else_asks_numba_for_a_cache():
    asking = [
        f"{path.name}:{node.lineno}"
        for path in ROOT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and any(word.arg == "cache" for word in node.keywords)
        if path.stem != "compilation"
    ]
    assert asking == []
