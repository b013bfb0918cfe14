"""Rules the whole project keeps: layers, one version, complete help, quick imports."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import alps_geo
from alps_geo.cli.main import cli, help_texts

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "numpy", "rasterio", "sklearn", "skimage", "geopandas", "pandas", "numba")


def run_python(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_layers_are_kept():
    result = subprocess.run(
        ["lint-imports", "--no-cache"], capture_output=True, text=True, timeout=120, cwd=ROOT
    )
    assert result.returncode == 0, result.stdout


def test_help_texts_in_the_docs_are_those_of_the_commands():
    result = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "--diff", "docs/commands.md"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert result.returncode == 0, f"run 'cog -r docs/commands.md'\n{result.stdout}"


def test_the_readme_points_to_files_that_exist():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)\)", text)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("metadata.txt", r"^version=(.+)$"),
        ("CITATION.cff", r"^version: (.+)$"),
        ("CHANGELOG.md", r"^## (\d\S+)"),
    ],
)
def test_the_version_is_the_same_everywhere(file, pattern):
    found = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == alps_geo.__version__


def test_pyproject_takes_the_version_from_the_package():
    # Read as text: tomllib is not in Python 3.10.
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in text
    assert 'version = { attr = "alps_geo.__version__" }' in text
    assert not re.search(r"^version = \"", text, re.MULTILINE)


@pytest.mark.parametrize(("name", "text"), help_texts(), ids=lambda value: value.split("\n")[0])
def test_every_command_has_help_with_an_example(name, text):
    assert re.search(rf"Examples?:\n\s+{name} ", text), text


def test_every_option_has_help():
    missing = [
        f"{ctx}: {option.name}"
        for ctx, command in walk_commands("alps-geo", cli)
        for option in command.params
        if isinstance(option, click.Option) and not option.help
    ]
    assert missing == []


def walk_commands(path, command):
    yield path, command
    for name, member in getattr(command, "commands", {}).items():
        yield from walk_commands(f"{path} {name}", member)


def test_importing_the_package_loads_nothing_heavy():
    loaded = run_python("import sys, alps_geo; print(*sys.modules)")
    assert set(loaded).isdisjoint(HEAVY)


def test_the_command_line_loads_nothing_heavy_for_its_help():
    loaded = run_python("import sys, alps_geo.cli.main; print(*sys.modules)")
    assert set(loaded).isdisjoint({*HEAVY, "rich"})


def test_importing_the_pipeline_loads_no_torch():
    loaded = run_python("import sys, alps_geo.pipeline; print(*sys.modules)")
    assert "torch" not in loaded


def test_a_run_on_a_gpu_loads_nothing_that_is_compiled_for_a_cpu():
    # No GPU is needed to see it: tensors without memory stand for those of another device.
    loaded = run_python(
        "import sys, torch\n"
        "from segment_anything import sam_model_registry\n"
        "from alps_geo.models.sam import MaskGenerator\n"
        "sam = sam_model_registry['vit_b']().to('meta')\n"
        "MaskGenerator(sam)\n"
        "print(*sys.modules)"
    )
    assert "alps_geo.models.sam.decoder" in loaded
    assert [name for name in loaded if name.startswith("alps_geo.models.sam.cpu")] == []


def test_every_folder_of_the_package_is_in_the_wheel():
    folders = {path.parent for path in (ROOT / "alps_geo").rglob("*.py")}
    names = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    listed = re.search(r"^packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert listed is not None
    assert set(re.findall(r'"(.*?)"', listed[1])) == {*names, "alps_geo.cli"}


def test_every_data_file_of_the_package_is_in_the_wheel():
    text = (ROOT / "pyproject.toml").read_text()
    table = re.search(r"^\[tool.setuptools.package-data\]\n(.*?)^\[", text, re.M | re.S)
    assert table is not None
    listed = re.findall(r'^"?([\w.]+)"? = \["(.+?)"\]', table[1], re.M)
    shipped = {file for name, what in listed for file in (ROOT / name.replace(".", "/")).glob(what)}
    found = {path for path in (ROOT / "alps_geo").rglob("*") if path.is_file()}
    others = {path for path in found if path.suffix not in (".py", ".pyc", ".nbi", ".nbc")}
    assert shipped == others


def test_the_package_itself_holds_ten_files_at_most():
    assert len(list((ROOT / "alps_geo").glob("*.py"))) <= 10


def test_every_public_name_can_be_had():
    names = run_python(
        "import alps_geo; print(*(getattr(alps_geo, n).__name__ for n in alps_geo.__all__))"
    )
    assert names == alps_geo.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'labelling'"):
        _ = alps_geo.labelling


def test_rio_has_the_commands():
    result = subprocess.run(["rio", "alps", "--help"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert "label" in result.stdout
