"""No reader that leaves, closed stream or narrow encoding ends a command."""

import json
import os
import subprocess
import sys

import pytest

from alps_geo.cli.streams import LenientFile

from .conftest import SMALL, run

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="shells differ")


def shell(line, folder, **variables):
    environment = {**os.environ, **variables, "ALPS": f"{sys.executable} -m alps_geo.cli"}
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, cwd=folder, env=environment, timeout=300
    )


@POSIX
@pytest.mark.parametrize(
    "ending",
    [
        "2>&-",
        ">&- 2>&-",
        "<&- >&- 2>&-",
        "2> >(true)",
        "2> >(head -1 > /dev/null)",
        "> >(true)",
        "--progress json 2>&- < /dev/null",
        "--progress bar 2>&-",
    ],
)
def test_a_run_does_not_end_with_its_readers(small_scene, tmp_path, ending):
    options = " ".join(SMALL)
    done = shell(f"$ALPS label '{small_scene}' -o out {options} {ending}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "run.json").exists()
    for name in ("labels.tif", "labels.gpkg"):
        assert (tmp_path / "out" / name).read_bytes()[:4] in (b"II*\0", b"SQLi")


@POSIX
def test_what_is_printed_into_a_closed_pipe_is_no_error(finished_run):
    done = shell("$ALPS classes out | true; echo ${PIPESTATUS[0]}", finished_run[0].parent)
    assert done.stdout.split()[-1] == b"0"
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_outside_the_code_page_are_shown_with_escapes(small_scene, tmp_path, encoding):
    scene = tmp_path / "sö雪.tif"
    scene.write_bytes(small_scene.read_bytes())
    command = [sys.executable, "-m", "alps_geo.cli", "info", str(scene), *SMALL]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    plain = subprocess.run(command, capture_output=True, env=environment, timeout=300)
    assert plain.returncode == 0, plain.stderr
    # click takes a stream of ASCII for one that is set up wrongly, and writes UTF-8.
    written = "utf-8" if encoding == "ascii" else encoding
    shown = "sö雪.tif".encode(written, "backslashreplace")
    assert shown in plain.stdout
    machine = subprocess.run(
        [*command, "--json"], capture_output=True, env=environment, timeout=300
    )
    assert json.loads(machine.stdout.decode(encoding))["scene"]["path"] == str(scene)


@POSIX
def test_names_that_the_locale_has_no_letters_for_are_one_line(tmp_path):
    done = shell("$ALPS info $'sc\\xffne.tif'", tmp_path)
    assert done.returncode == 2
    assert b"letters that this system's encoding lacks; set PYTHONUTF8=1" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no full device")  # noqa: PTH110
def test_an_error_that_is_no_lost_reader_is_raised():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            LenientFile(descriptor).write(b"x")
    finally:
        os.close(descriptor)


@POSIX
def test_hints_quote_folders_with_spaces(finished_run, own_run):
    folder = own_run.rename(own_run.with_name("my run $1"))
    result = run("classes", folder)
    assert f"alps-geo classes '{folder}' --name" in result.output


@POSIX
def test_a_finished_run_tells_what_to_copy_with_quotes(small_scene, tmp_path):
    out = tmp_path / "my out"
    result = run("label", small_scene, "-o", out, "--progress", "none", *SMALL)
    assert f"alps-geo classes '{out}' " in result.output
    assert f"alps-geo classify '{out}' -k 8" in result.output


def test_the_way_to_go_on_shows_no_token(tmp_path):
    from click import Context

    from alps_geo.cli.main import cli
    from alps_geo.cli.options import ARGUMENTS
    from alps_geo.cli.progress import _farewell

    ctx = Context(cli, info_name="alps-geo")
    ctx.meta[ARGUMENTS] = ("https://me:pw1@host/a.tif?sig=pw2", "-o", "my out")
    assert "pw" not in _farewell(ctx, "tiles are kept")
    assert "https://host/a.tif" in _farewell(ctx, "tiles are kept")
