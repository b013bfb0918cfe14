"""The protocol client against engines of every kind, as real child processes and without QGIS."""

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from qgis_plugin import errors, runner

from .recorder import Recorder

ROOT = Path(__file__).resolve().parents[2]
GREETING = """
    import json, os, sys, threading, time
    def say(event, **fields):
        print(json.dumps({"event": event, **fields}), flush=True)
    say("hello", protocol=1, version="0.1.0", command="label")
"""
SLEEP = "\n    time.sleep(60)\n"


@pytest.fixture
def engine(tmp_path):
    """Return a function that writes a stand-in for the engine and returns its command."""

    def make(*parts, greeting=GREETING):
        script = tmp_path / "engine.py"
        body = "\n".join(textwrap.dedent(part) for part in (greeting, *parts))
        script.write_text(body, encoding="utf-8")
        return [sys.executable, "-u", str(script)]

    return make


def after_stage(recorder):
    return ("stage", "tiles") in recorder.calls


def test_a_run_gives_its_result_and_tells_what_it_does(engine):
    command = engine(
        """
    say("stage", name="tiles")
    say("progress", done=1, total=4, eta_s=12.5)
    say("message", text="bands 1, 2, 3")
    say("warning", text="no CRS")
    sys.stderr.write("a library speaks\\n")
    say("result", folder="/out", labels=["/out/labels.tif"])
    """
    )
    recorder = Recorder()
    assert runner.run(command, recorder) == {"folder": "/out", "labels": ["/out/labels.tif"]}
    assert ("progress", 1, 4, 12.5) in recorder.calls
    assert recorder.calls.index(("stage", "tiles")) < recorder.calls.index(("progress", 1, 4, 12.5))
    assert recorder.texts("message") == ["bands 1, 2, 3"]
    assert recorder.texts("warning") == ["no CRS"]
    assert recorder.texts("log") == ["a library speaks"]


def test_the_newest_step_of_each_stage_is_told_with_its_stage(engine):
    command = engine(
        """
    for name in ("tiles", "stitch"):
        say("stage", name=name)
        for done in range(1, 101):
            say("progress", done=done, total=100, eta_s=None)
    say("result")
    """
    )
    recorder = Recorder()
    runner.run(command, recorder)
    names = [call for call in recorder.calls if call[0] in ("stage", "progress")]
    finished = ("progress", 100, 100, None)
    assert (
        names.index(("stage", "tiles")) < names.index(finished) < names.index(("stage", "stitch"))
    )
    assert names[-1] == finished


def test_an_error_of_the_engine_is_its_own_message(engine):
    command = engine(
        """
    say("error", message="scene.tif has no valid pixels", exit_code=1)
    sys.exit(1)
    """
    )
    with pytest.raises(errors.EngineRefused, match=r"^scene\.tif has no valid pixels$"):
        runner.run(command, Recorder())


def test_an_error_of_the_engine_keeps_its_code_and_values(engine):
    command = engine(
        """
    say("error", message="far", exit_code=1, code="aoi.outside", values={"path": "a.gpkg"})
    sys.exit(1)
    """
    )
    with pytest.raises(errors.EngineRefused, match=r"^far$") as caught:
        runner.run(command, Recorder())
    assert (caught.value.code, caught.value.values) == ("aoi.outside", {"path": "a.gpkg"})


def test_the_engine_works_in_the_folder_of_qgis(engine, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runner.run(engine('say("result", folder=os.getcwd())'), Recorder()) == {
        "folder": str(tmp_path)
    }


def test_a_folder_that_is_gone_is_no_hindrance(engine, tmp_path, monkeypatch):
    command = engine('say("result", folder=os.getcwd())')
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert runner.run(command, Recorder()) == {"folder": str(Path.home())}


def test_a_missing_interpreter_is_told_with_the_remedy(tmp_path):
    with pytest.raises(errors.EngineMissing, match=r"no-python: No such file.*Set up engine"):
        runner.run([str(tmp_path / "no-python")], Recorder())


def test_an_interpreter_without_the_package_is_told(tmp_path):
    command = [sys.executable, "-I", "-S", "-m", "alps_geo.cli"]
    with pytest.raises(errors.EngineMissing, match="alps-geo is not installed"):
        runner.run(command, Recorder())


def test_another_protocol_is_refused(engine):
    command = engine(SLEEP, greeting=GREETING.replace("protocol=1", "protocol=2"))
    before = time.monotonic()
    with pytest.raises(errors.EngineTooOld, match="protocol 2, this plugin 1"):
        runner.run(command, Recorder())
    assert time.monotonic() - before < 5


def test_an_older_engine_is_refused(engine):
    with pytest.raises(errors.EngineTooOld, match=r"alps-geo 0\.1\.0, but .* needs 0\.2\.0"):
        runner.run(engine(SLEEP), Recorder(), minimum="0.2.0")


@pytest.mark.parametrize(
    ("older", "newer"), [("0.9.1", "0.10"), ("0.1.0", "0.1.1"), ("0.1.0rc1", "1"), ("x", "0.1")]
)
def test_versions_are_compared_as_numbers(older, newer):
    assert runner_key(older) < runner_key(newer)


def runner_key(version):
    from qgis_plugin.protocol import version_key

    return version_key(version)


def test_a_crash_shows_the_last_lines(engine):
    command = engine(
        """
    for number in range(100):
        sys.stderr.write(f"line {number}\\n")
    os.abort()
    """
    )
    with pytest.raises(errors.EngineCrashed, match="signal SIGABRT") as caught:
        runner.run(command, Recorder())
    assert "line 99" in str(caught.value)
    assert "line 80" not in str(caught.value)


def test_a_killed_engine_hints_at_memory(engine):
    with pytest.raises(errors.EngineCrashed, match=r"SIGKILL, .* memory ran out"):
        runner.run(engine("os.kill(os.getpid(), 9)"), Recorder())


def test_an_end_without_a_result_is_no_success(engine):
    with pytest.raises(errors.EngineCrashed, match=r"ended \(exit code 0\) without a result"):
        runner.run(engine(""), Recorder())


def test_a_result_before_a_crash_is_no_success(engine):
    with pytest.raises(errors.EngineCrashed, match="exit code 3"):
        runner.run(engine('say("result")\nsys.exit(3)'), Recorder())


def test_a_program_that_is_no_engine_is_told():
    with pytest.raises(errors.EngineCrashed, match="no alps-geo engine"):
        runner.run([sys.executable, "-c", "print('hello')"], Recorder())


@pytest.mark.parametrize(
    "line",
    [
        "Segmentation fault?",
        "{",
        "[1, 2]",
        '{"event": 3}',
        '{"no": "event"}',
        "\\x00\\xff",
        "[" * 9000,
    ],
    ids=["text", "half", "list", "number", "other", "bytes", "deep"],
)
def test_rubbish_between_the_lines_is_shown_and_does_no_harm(engine, line):
    command = engine(f"sys.stdout.buffer.write(b'{line}\\n')\nsay('result')")
    recorder = Recorder()
    assert runner.run(command, recorder) == {}
    assert recorder.texts("log")


def test_events_of_a_later_protocol_and_odd_fields_do_no_harm(engine):
    command = engine(
        """
    say("applause", loud=True)
    say("progress", done="some", total=None)
    say("progress", done=1, total=2, eta_s="soon")
    say("stage")
    say("result")
    """
    )
    recorder = Recorder()
    assert runner.run(command, recorder) == {}
    assert ("progress", 1, 2, None) in recorder.calls


def test_endless_rubbish_is_ended(engine):
    command = engine("while True: print('rubbish')", greeting="import sys\n")
    with pytest.raises(errors.EngineCrashed, match="lines that mean nothing"):
        runner.run(command, Recorder())


def test_an_endless_line_is_ended_without_filling_the_memory(engine):
    command = engine("while True: sys.stdout.write('x' * 65536)", greeting="import sys\n")
    with pytest.raises(errors.EngineCrashed, match="lines that mean nothing"):
        runner.run(command, Recorder())


OBEDIENT = """
    say("stage", name="tiles")
    for line in sys.stdin:
        if line.strip() == "cancel":
            say("cancelled", message="stopped; finished tiles are kept")
            sys.exit(130)
"""
ON_SIGNAL = """
    import signal
    signal.signal(signal.SIGTERM, lambda *_: os._exit(130))
    say("stage", name="tiles")
    time.sleep(60)
"""
DEAF = """
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("stage", name="tiles")
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("body", "limit_s"),
    [(OBEDIENT, 1), (ON_SIGNAL, 2.5), (DEAF, 3)],
    ids=["obedient", "slow", "deaf"],
)
def test_cancelling_answers_within_three_seconds(engine, body, limit_s):
    recorder = Recorder(after_stage)
    with pytest.raises(errors.EngineCancelled):
        runner.run(engine(body), recorder)
    assert time.monotonic() - recorder.asked < limit_s


def test_cancelling_says_what_the_engine_said(engine):
    with pytest.raises(errors.EngineCancelled, match="finished tiles are kept"):
        runner.run(engine(OBEDIENT), Recorder(after_stage))


def test_cancelling_before_the_greeting_ends_an_engine_that_never_speaks(engine):
    recorder = Recorder(lambda recorder: True)
    with pytest.raises(errors.EngineCancelled):
        runner.run(engine("time.sleep(60)", greeting="import time\n"), recorder)
    assert time.monotonic() - recorder.asked < 3


def test_a_deaf_engine_takes_its_workers_with_it(engine, tmp_path):
    note = tmp_path / "worker"
    command = engine(
        f"""
    import subprocess
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open({str(note)!r}, "w").write(str(worker.pid))
    """,
        DEAF,
    )
    with pytest.raises(errors.EngineCancelled):
        runner.run(command, Recorder(after_stage))
    assert has_ended(int(note.read_text()))


def has_ended(process):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1][0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_worker_that_outlives_the_engine_does_not_keep_qgis_waiting(engine):
    command = engine(
        """
    import subprocess
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(8)"], start_new_session=True)
    say("result")
    """
    )
    before = time.monotonic()
    assert runner.run(command, Recorder()) == {}
    assert time.monotonic() - before < 5


def test_the_engine_stops_when_its_parent_is_killed(engine, tmp_path):
    note = tmp_path / "engine"
    command = engine(
        f"open({str(note)!r}, 'w').write(str(os.getpid()))\n" + textwrap.dedent(OBEDIENT)
    )
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from qgis_plugin import runner; from tests.qgis_plugin.recorder import"
            " Recorder; runner.run(sys.argv[1:], Recorder())",
            *command,
        ],
        cwd=ROOT,
    )
    end = time.monotonic() + 20
    while not (note.exists() and note.read_text()) and time.monotonic() < end:
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    assert has_ended(int(note.read_text()))


def test_a_thousand_lines_a_second_become_ten_calls_a_second(engine):
    command = engine(
        """
    say("stage", name="tiles")
    for done in range(3000):
        say("progress", done=done, total=3000, eta_s=1.0)
        say("message", text=f"tile {done}")
        sys.stderr.write(f"log {done}\\n")
        time.sleep(0.001)
    say("result")
    """
    )
    recorder = Recorder()
    before, used = time.monotonic(), time.thread_time()
    runner.run(command, recorder)
    seconds, used = time.monotonic() - before, time.thread_time() - used
    calls = [call for call in recorder.calls if call[0] == "progress"]
    assert len(calls) <= 12 * seconds
    assert calls[-1][1] == 2999
    assert len(recorder.texts("message")) <= 41 * 12 * seconds
    # What the calling thread itself spends: the rest of its time QGIS has for others.
    assert used < 0.25 * seconds


def test_a_flood_that_nobody_can_follow_is_shortened(engine):
    command = engine("for n in range(50_000): say('message', text=str(n))\nsay('result')")
    recorder = Recorder()
    runner.run(command, recorder)
    assert any(line.startswith("… ") for line in recorder.texts("message"))
    assert recorder.texts("message")[-1] == "49999"


def test_a_raising_listener_leaves_no_engine_behind(engine, tmp_path):
    note = tmp_path / "engine"

    class Failing(Recorder):
        def stage(self, name):
            raise ZeroDivisionError("ours to mend")

    command = engine(f"open({str(note)!r}, 'w').write(str(os.getpid()))", DEAF)
    with pytest.raises(ZeroDivisionError, match="ours to mend"):
        runner.run(command, Failing())
    assert has_ended(int(note.read_text()))


@pytest.mark.parametrize("name", ["PYTHONHOME", "PYTHONPATH", "PROJ_LIB", "PROJ_DATA", "GDAL_DATA"])
def test_what_belongs_to_qgis_does_not_reach_the_engine(engine, monkeypatch, name):
    monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("ALPS_GEO_MODELS", "/models")
    command = engine(
        f"say('result', it=os.environ.get({name!r}), own=os.environ['ALPS_GEO_MODELS'])"
    )
    assert runner.run(command, Recorder()) == {"it": None, "own": "/models"}


def test_text_that_is_not_ascii_comes_through(engine):
    command = engine("say('result', folder='/tmp/Łódź ▸ 東京')")
    assert runner.run(command, Recorder()) == {"folder": "/tmp/Łódź ▸ 東京"}


def test_the_real_engine_speaks_the_protocol(tmp_path):
    command = [sys.executable, "-I", "-u", "-m", "alps_geo.cli"]
    arguments = ["label", str(tmp_path / "none.tif"), "-o", str(tmp_path), "--progress", "json"]
    with pytest.raises(errors.EngineRefused, match=r"none\.tif"):
        runner.run([*command, *arguments], Recorder())
