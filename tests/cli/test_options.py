"""Options come from the settings: each there is, with its default and help."""

import dataclasses

import click
import pytest
from click.testing import CliRunner

from alps_geo.cli.label import label
from alps_geo.cli.main import cli
from alps_geo.cli.options import SECTIONS, make_settings, parse_bands
from alps_geo.settings import Settings, all_settings, json_key, option_name


def run(*arguments):
    return CliRunner().invoke(cli, list(arguments), prog_name="alps-geo")


def label_options():
    return {item.name: item for item in label.params if isinstance(item, click.Option)}


@pytest.mark.parametrize(
    ("part", "item"), all_settings(), ids=lambda field: getattr(field, "name", None)
)
def test_every_setting_is_an_option_of_label(part, item):
    option = label_options()[option_name(item)]
    assert option.help == item.metadata["help"]
    assert option.section == json_key(part)


def test_the_options_defaults_make_the_default_settings():
    names = {option_name(item) for _, item in all_settings()}
    ctx = label.make_context("label", ["scene.tif", "-o", "out"])
    options = {name: value for name, value in ctx.params.items() if name in names}
    assert make_settings(options) == Settings()


def test_every_part_of_the_settings_has_a_section():
    assert set(SECTIONS) == {json_key(part) for part in dataclasses.fields(Settings)}


def test_the_help_of_label_has_its_sections_in_the_order_of_a_run():
    text = run("label", "--help").output
    places = [text.index(f"\n{title}:\n") for title in ("Options", *SECTIONS.values())]
    assert places == sorted(places)


def test_the_texts_of_all_sections_begin_in_one_column():
    lines = run("label", "--help").output.splitlines()
    starts = [
        next(line.index(word) for line in lines if word in line)
        for word in ("Output folder.", "Where SAM runs.", "Processes that work", "Side of the")
    ]
    assert starts[0] != -1
    assert len({*starts[:1], *starts[2:]}) == 1


def test_ranges_are_numbers_with_commas_and_may_be_below_zero():
    arguments = ["scene.tif", "-o", "out", "--stretch-range", "-1.5,300", "--nodata", "-9999"]
    ctx = label.make_context("label", arguments)
    assert ctx.params["stretch_range"] == (-1.5, 300)
    assert ctx.params["nodata"] == -9999
    assert ctx.params["stretch_percentiles"] is None


def test_bands_are_numbers_with_commas():
    ctx = label.make_context("label", ["scene.tif", "-o", "out", "--bands", "3,2,1"])
    assert ctx.params["bands"] == (3, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bands", "red"], "'red' is not a list of band numbers such as 3,2,1, nor pca"),
        (["--stretch-range", "low,high"], "'low,high' is not a list of numbers such as 2,98"),
        (["--stretch-percentiles", "98,2"], "must be a lower and a higher number from 0 to 100"),
        (["--bands", "1,2"], "--bands must name one band, or three or more, not 2"),
        (
            ["--overlap", "3"],
            "--overlap must be an even number from 0 to half of --tile-size (512)",
        ),
        (["-k", "1"], "--n-classes must be from 2 to 65535, not 1"),
        (["--stretch", "log"], "'log' is not one of 'percentile', 'minmax', 'none'"),
        (["-k", "3", "--classes", "x"], "--n-classes and --classes exclude each other"),
        (["--no-such-option"], "--no-such-option"),
    ],
)
def test_a_value_that_cannot_work_is_a_usage_error(arguments, message, tmp_path):
    out = tmp_path / "out"
    result = run("label", "scene.tif", "-o", str(out), *arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert not out.exists()


def test_a_scene_and_an_output_folder_are_needed():
    assert "Missing argument" in run("label", "-o", "out").output
    assert "Missing option" in run("label", "scene.tif").output


@pytest.mark.parametrize("name", ["label", "classify", "classes", "evaluate", "info"])
def test_help_is_the_last_option_of_a_commands_help(name):
    text = CliRunner().invoke(cli, [name, "--help"]).output.partition("Examples:")[0]
    options = [line.split()[0] for line in text.splitlines() if line.startswith("  -")]
    assert options[-1] == "--help"


@pytest.mark.parametrize("text", ["pca", " PCA "])
def test_bands_may_be_principal_components(text: str) -> None:
    context = click.Context(click.Command("label"))
    assert parse_bands(context, click.Option(["--bands"]), text) == "pca"
