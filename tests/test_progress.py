"""Listeners: what they are told, they pass on or remember."""

from __future__ import annotations

from alps_geo.progress import NoProgress, RecordedProgress, Stopwatch


def test_a_stopwatch_passes_everything_on_and_measures_stages() -> None:
    heard = RecordedProgress()
    watch = Stopwatch(heard)
    watch.stage("tiles")
    watch.step(1, 2)
    watch.stage("stitch")
    watch.message("so far")
    watch.warning("careful")
    watch.stop()
    assert heard.stages == ["tiles", "stitch"] == list(watch.seconds)
    assert heard.steps == [("tiles", 1, 2)]
    assert (heard.messages, heard.warnings, watch.warnings) == (
        ["so far"],
        ["careful"],
        ["careful"],
    )


def test_nobody_listening_is_fine() -> None:
    silent = Stopwatch(NoProgress())
    silent.stage("tiles")
    silent.step(1, 1)
    silent.message("x")
    silent.warning("y")
    assert silent.seconds == {}
