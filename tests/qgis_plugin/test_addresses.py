"""URIs of SQLite on every kind of path that Windows and others have."""

import sqlite3
from contextlib import closing
from pathlib import PurePosixPath, PureWindowsPath

import pytest

from alps_geo.scenes import paths
from qgis_plugin import addresses


@pytest.mark.parametrize("module", [paths, addresses], ids=["engine", "plugin"])
@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (
            PureWindowsPath(r"\\server\share\run\labels.gpkg"),
            "file:////server/share/run/labels.gpkg",
        ),
        (PureWindowsPath(r"C:\my runs\labels.gpkg"), "file:///C:/my%20runs/labels.gpkg"),
        (PureWindowsPath(r"Z:\50%\a#1.gpkg"), "file:///Z:/50%25/a%231.gpkg"),
        (PurePosixPath("/data/what?/ä.gpkg"), "file:///data/what%3F/%C3%A4.gpkg"),
        (PurePosixPath("/data/a&b=c.gpkg"), "file:///data/a%26b%3Dc.gpkg"),
    ],
)
def test_paths_become_uris_that_sqlite_takes(module, path, uri):
    assert module.sqlite_uri(path) == f"{uri}?mode=ro"


@pytest.mark.parametrize("module", [paths, addresses], ids=["engine", "plugin"])
@pytest.mark.parametrize("name", ["a b.gpkg", "what?mode=rw#1.gpkg", "50%25.gpkg", "ä&b.gpkg"])
def test_sqlite_opens_the_file_and_no_other(module, tmp_path, name):
    with closing(sqlite3.connect(tmp_path / name)) as database:
        database.execute("CREATE TABLE t (x)")
    with closing(sqlite3.connect(module.sqlite_uri(tmp_path / name), uri=True)) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]


def test_sqlite_takes_an_empty_host_where_a_share_has_its_name():
    """The URIs that pathlib makes of shares are what SQLite refuses."""
    with pytest.raises(sqlite3.OperationalError, match="invalid uri authority"):
        sqlite3.connect("file://server/share/labels.gpkg?mode=ro", uri=True)
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        sqlite3.connect("file:////server/share/labels.gpkg?mode=ro", uri=True)
