"""The commands of the README that set everything up, and the scene they need."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rasterio

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ("scripts/demo", "scripts/test", "scripts/test_qgis", "scripts/qgis_matrix", ".ci/run")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_run_as_it_is(name):
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / name], check=True, timeout=30)


PROGRAMS = [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("scripts/*.py")]


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_what_a_program_imports_of_the_engine_is_there(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alps_geo"):
            module = importlib.import_module(node.module)
            for item in node.names:
                if not hasattr(module, item.name):
                    importlib.import_module(f"{node.module}.{item.name}")


def test_ci_runs_what_people_run():
    assert "scripts/test" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def find_python(path):
    return subprocess.run(
        ["bash", "-c", ". scripts/lib.sh; find_python"],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=ROOT,
        env={"PATH": str(path)},
    )


def make_python(folder, name, version):
    """Write a stand-in that knows its version, and nothing else."""
    program = folder / name
    code = f"import sys; sys.version_info = {version}; exec(sys.argv[1])"
    program.write_text(f'#!/bin/bash\nexec {sys.executable} -c "{code}" "$2"\n', encoding="utf-8")
    program.chmod(0o755)
    return program


def test_the_scripts_pass_over_a_python_that_is_too_old(tmp_path):
    (tmp_path / "bash").symlink_to("/bin/bash")
    make_python(tmp_path, "python3", (3, 9, 2))
    new = make_python(tmp_path, "python3.11", (3, 11, 0))
    assert find_python(tmp_path).stdout.strip() == str(new)


def test_the_scripts_say_which_python_they_need(tmp_path):
    (tmp_path / "bash").symlink_to("/bin/bash")
    make_python(tmp_path, "python3", (3, 9, 2))
    result = find_python(tmp_path)
    assert result.returncode == 1
    assert "no Python 3.10 or newer found" in result.stderr


def audit(report, errors=""):
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        judge = importlib.import_module("audit").judge
    finally:
        sys.path.pop(0)
    return judge(report, errors)


def test_a_known_vulnerability_fails_and_is_named():
    known = {"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"], "aliases": [], "description": ""}
    packages = [
        {"name": "good", "version": "3", "vulns": []},
        {"name": "bad", "version": "1.0", "vulns": [known]},
        {"name": "ours", "skip_reason": "distribution marked as editable"},
    ]
    lines, found = audit(json.dumps({"dependencies": packages, "fixes": []}))
    assert found
    assert lines == ["bad 1.0: PYSEC-1, fixed in 1.1, 2.0", "2 of 3 packages looked up"]


@pytest.mark.parametrize(
    ("report", "errors", "reason"),
    [
        ("", "Traceback\nConnectionError: no route\n", "ConnectionError: no route"),
        ("", "", "no answer"),
        ('{"dependencies": [{"name": "a", "skip_reason": "b"}]}', "", "no answer for 1 packages"),
    ],
)
def test_vulnerabilities_that_cannot_be_looked_up_are_one_line(report, errors, reason):
    assert audit(report, errors) == ([f"known vulnerabilities not looked up: {reason}"], False)


def test_the_example_scene_is_small_and_georeferenced(example):
    assert example.stat().st_size <= 1_500_000
    with rasterio.open(example) as scene:
        assert scene.crs is not None
        assert scene.count == 3
        assert not scene.transform.is_identity
