"""Progress as people and programs see it, and how a command is stopped."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from alps_geo.cli.progress import Pace, in_words

WALK = [sys.executable, str(Path(__file__).with_name("walk.py")), "go"]
LONG = ("--steps", "2000", "--pause", "0.05")


def walk(*arguments, **keywords):
    return subprocess.run(
        [*WALK, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        **keywords,
    )


def start_walk(*arguments, **keywords):
    return subprocess.Popen(
        [*WALK, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **keywords,
    )


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def wait_for_progress(process):
    for line in process.stdout:
        if json.loads(line)["event"] == "progress":
            return


def run_on_terminal(*arguments):
    """Run the command with a terminal for stderr; return its stdout and what the terminal got."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([*WALK, *arguments], stdout=subprocess.PIPE, stderr=follower)
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 4096)
        except OSError:  # Linux says so when the other end is closed
            break
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    stdout, _ = process.communicate(timeout=60)
    return stdout.decode(), seen.decode()


def test_a_pipe_gets_plain_lines_on_stderr():
    result = walk()
    assert result.returncode == 0
    assert result.stderr.splitlines()[0] == "walking"
    assert "walking: 3 of 3" in result.stderr
    assert "Warning: mind the gap" in result.stderr
    assert "\x1b" not in result.stderr
    assert result.stdout.splitlines()[-1] == "there"


def test_a_stage_of_many_steps_takes_few_lines():
    lines = walk("--steps", "1000").stderr.splitlines()
    assert 5 <= sum(line.startswith("walking: ") for line in lines) <= 11


def test_a_terminal_gets_a_bar_and_texts_without_markup():
    stdout, seen = run_on_terminal("--pause", "0.2")
    assert "━" in seen
    assert "3/3" in seen
    assert "it was [red] fine" in seen
    assert "mind the gap" in seen
    assert seen.rstrip().endswith("\x1b[?25h")  # the cursor is back
    assert stdout.splitlines()[-1] == "there"


def test_none_shows_nothing_but_the_end():
    result = walk("--progress", "none")
    assert result.stderr == ""
    assert result.stdout.splitlines()[-1] == "there"


def test_json_has_one_object_per_line_and_nothing_else_on_stdout():
    result = walk("--progress", "json")
    found = events(result.stdout)
    assert result.returncode == 0
    assert found[0] == {"event": "hello", "protocol": 1, "version": "0.1.0", "command": "go"}
    assert found[1] == {"event": "stage", "name": "walking"}
    steps = [item for item in found if item["event"] == "progress"]
    assert {"done", "total", "eta_s"} <= set(steps[0])
    assert (steps[-1]["done"], steps[-1]["total"]) == (3, 3)
    fine = {"event": "message", "text": "it was [red] fine", "code": "message", "values": {}}
    assert fine in found
    gap = {"event": "warning", "text": "mind the gap", "code": "walk.gap", "values": {"at": 3}}
    assert gap in found
    assert found[-1] == {"event": "result", "folder": "out", "labels": ["out/labels.tif"]}


def test_json_sends_what_libraries_print_to_stderr():
    stderr = walk("--progress", "json").stderr
    assert "a library prints" in stderr
    assert "a library in C prints" in stderr


@pytest.mark.parametrize(
    ("fail", "exit_code", "message", "code", "values"),
    [
        ("known", 1, "scene.tif is empty: set `bands`", "walk.empty", {"path": "scene.tif"}),
        ("usage", 2, "that makes no sense", "usage", {}),
        ("unknown", 1, "unexpected ZeroDivisionError: ours to mend", "unexpected", {}),
    ],
)
def test_json_ends_with_the_error(fail, exit_code, message, code, values):
    result = walk("--progress", "json", "--fail", fail)
    assert result.returncode == exit_code
    assert events(result.stdout)[-1] == {
        "event": "error",
        "message": message,
        "exit_code": exit_code,
        "code": code,
        "values": values,
    }


def test_an_error_that_a_program_was_told_is_not_told_again_on_stderr():
    assert "is empty" not in walk("--progress", "json", "--fail", "known").stderr


def test_an_error_of_ours_is_one_line_for_people():
    result = walk("--progress", "none", "--fail", "known")
    assert result.returncode == 1
    assert result.stderr == "Error: scene.tif is empty: set --bands\n"


def test_an_unexpected_error_keeps_its_traceback():
    result = walk("--progress", "none", "--fail", "unknown")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError: ours to mend" in result.stderr


@pytest.mark.parametrize("way", ["line", "end of file"])
def test_stdin_cancels_in_json_mode(way):
    process = start_walk("--progress", "json", *LONG, stdin=subprocess.PIPE)
    wait_for_progress(process)
    if way == "line":
        process.stdin.write("cancel\n")
        process.stdin.flush()
    else:
        process.stdin.close()
        process.stdin = None
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert events(stdout)[-1]["event"] == "cancelled"


def test_other_lines_on_stdin_do_not_cancel():
    process = start_walk("--progress", "json", "--pause", "0.05", stdin=subprocess.PIPE)
    process.stdin.write("cancellation\nhello\n")
    process.stdin.flush()
    stdout = process.stdout.read()
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert events(stdout)[-1]["event"] == "result"


def test_a_reader_that_goes_away_stops_the_run():
    process = start_walk("--progress", "json", *LONG, stdin=subprocess.DEVNULL)
    wait_for_progress(process)
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=30)
    assert process.returncode == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_at_the_next_step_and_says_how_to_go_on(number):
    process = start_walk("--overwrite", *LONG, stdin=subprocess.DEVNULL)
    process.stderr.readline()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Ctrl-C again" in stderr
    assert stderr.splitlines()[-1] == (
        "Stopped; finished steps are kept, to go on: walk go --steps 2000 --pause 0.05"
    )


def test_a_second_signal_stops_at_once():
    arguments = ("--progress", "json", "--pause", "60")
    process = start_walk(*arguments, stdin=subprocess.DEVNULL)
    wait_for_progress(process)
    process.send_signal(signal.SIGINT)
    while "Ctrl-C" not in process.stderr.readline():
        pass
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - before < 10


def test_the_time_left_follows_from_the_pace():
    times = iter([0.0, 10.0, 20.0])
    pace = Pace(lambda: next(times))
    assert pace.seconds_left(0, 4) is None
    assert pace.seconds_left(1, 4) == pytest.approx(30)
    assert pace.seconds_left(2, 4) == pytest.approx(20)


def test_the_time_left_ignores_what_an_earlier_run_finished():
    times = iter([0.0, 1.0, 11.0])
    pace = Pace(lambda: next(times))
    assert pace.seconds_left(90, 100) is None
    assert pace.seconds_left(91, 100) == pytest.approx(90)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59, "59 s"), (125, "2 min 5 s"), (3725, "1 h 2 min")]
)
def test_times_are_told_in_words(seconds, text):
    assert in_words(seconds) == text
