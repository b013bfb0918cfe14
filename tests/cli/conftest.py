"""A small finished run that the tests of the commands share."""

import shutil

import pytest
import rasterio
from affine import Affine
from click.testing import CliRunner

from alps_geo.cli.main import cli

from ..conftest import draw_landscape

SMALL = (
    "--tile-size", "192", "--overlap", "64", "-k", "5", "--model", "builtin",
    "--features", "texture",
)  # fmt: skip


def run(*arguments):
    """Run a command in this process, without progress."""
    return CliRunner().invoke(
        cli, [str(item) for item in arguments], prog_name="alps-geo", catch_exceptions=False
    )


@pytest.fixture(scope="session")
def small_scene(tmp_path_factory):
    """Return a drawn scene of 300 x 400 pixels."""
    path = tmp_path_factory.mktemp("scenes") / "drawn.tif"
    pixels = draw_landscape(300, 400)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=300,
        width=400,
        count=3,
        dtype="uint8",
        crs="EPSG:32640",
        transform=Affine(2, 0, 320000, 0, -2, 2780000),
    ) as file:
        file.write(pixels.transpose(2, 0, 1))
    return path


@pytest.fixture(scope="session")
def finished_run(small_scene, tmp_path_factory):
    """Return the folder of a finished run, not to be changed, and what the command printed."""
    out = tmp_path_factory.mktemp("runs") / "out"
    result = run("label", small_scene, "-o", out, "--progress", "none", *SMALL)
    assert result.exit_code == 0, result.output
    return out, result.output


@pytest.fixture
def own_run(finished_run, tmp_path):
    """Return a copy of the finished run that a test may change."""
    return shutil.copytree(finished_run[0], tmp_path / "own")
