"""`alps-geo report`, and what other commands say of the page."""

import json

from .conftest import SMALL, run


def test_the_command_writes_a_page(own_run, tmp_path, capfd):
    before = (own_run / "report.html").read_bytes()
    (own_run / "report.html").unlink()
    result = run("report", own_run, "--progress", "none")
    assert result.exit_code == 0
    assert result.output == f"Written to {own_run / 'report.html'}\n"
    assert (own_run / "report.html").read_bytes() == before
    result = run("report", own_run, "-o", tmp_path / "page.html", "--progress", "json")
    assert result.exit_code == 0
    event = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert event["report"] == str(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_bytes() == before


def test_the_json_of_evaluate_becomes_a_part_of_the_page(own_run, tmp_path):
    found = run("evaluate", own_run, own_run / "labels.tif", "--json")
    (tmp_path / "fit.json").write_text(found.stdout)
    result = run("report", own_run, "--evaluation", tmp_path / "fit.json", "--progress", "none")
    assert result.exit_code == 0
    assert "adjusted Rand index" in (own_run / "report.html").read_text("utf-8")
    run("classes", own_run, "--name", "0=water", "--progress", "none")
    result = run("report", own_run, "--evaluation", tmp_path / "fit.json", "--progress", "none")
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "'alps-geo evaluate' again" in result.output


def test_a_page_that_cannot_be_written_is_one_line(own_run, tmp_path):
    result = run("report", own_run, "-o", tmp_path / "no" / "page.html", "--progress", "none")
    assert result.exit_code == 1
    assert result.output.startswith("Error: cannot write ")
    assert result.output.count("\n") == 1
    result = run("report", tmp_path, "--progress", "none")
    assert result.exit_code == 2
    assert "holds no finished run" in result.output


def test_label_tells_of_the_page_unless_there_is_none(small_scene, finished_run, tmp_path, capfd):
    assert "report.html  a page about it all" in finished_run[1]
    out = tmp_path / "out"
    result = run("label", small_scene, "-o", out, "--no-report", "--progress", "json", *SMALL)
    assert result.exit_code == 0
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["report"] is None
    assert not (out / "report.html").exists()
