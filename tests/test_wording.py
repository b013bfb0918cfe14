"""The engine speaks of settings and commands by Python's names, in backquotes; faces translate."""

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import alps_geo
from alps_geo import errors
from alps_geo.cli.wording import command_names, in_options
from alps_geo.progress import Notice
from alps_geo.settings import all_settings, option_name

SOURCE = Path(alps_geo.__file__).parent
#: What stands for a value that is not known before the message is made.
VALUE = "\N{LOZENGE}"
NAMED = re.compile(r"`(\w+)(?:=[^`]*|(\()[^`]*\))?`")
OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
COMMAND = re.compile(r"alps-geo (label|classify|classes|evaluate|info|models)\b")
# Programs of GDAL, and such, which pip does not bring.
PROGRAM = re.compile(r"\b(gdal(_\w+|warp|info|dem|\w*\.py)|gdal \w+ -|ogr2ogr|ogrinfo|sqlite3 )")
#: What people read of the engine that is no message: names of files, SQL, types, switches of numba.
NO_MESSAGE = ("CREATE", "SELECT", "INSERT", "-O", "<!DOCTYPE")


def texts_of(path: Path) -> Iterator[tuple[str, str]]:
    """Yield every text in a module but its docstrings, as (where, text with lozenges)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = [
                part.value if isinstance(part, ast.Constant) else VALUE for part in node.values
            ]
            yield f"{path.name}:{node.lineno}", "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield f"{path.name}:{node.lineno}", node.value


TEXTS = [
    (where, text)
    for path in sorted(SOURCE.rglob("*.py"))
    for where, text in texts_of(path)
    if " " in text and not text.strip().startswith(NO_MESSAGE)
]


@pytest.mark.parametrize(
    "pattern", [OPTION, COMMAND, PROGRAM], ids=["option", "command", "program"]
)
def test_no_text_of_the_engine_has_words_of_a_command_line(pattern):
    assert len(TEXTS) > 200
    assert [(where, text) for where, text in TEXTS if pattern.search(text)] == []


def test_every_name_in_backquotes_is_a_setting_or_a_command():
    options, commands = command_names()
    found = [
        (where, part)
        for where, text in TEXTS
        for part in re.findall(r"`[^`]*`", text)
        if VALUE not in part.partition("=")[0].partition("(")[0]
    ]
    assert len(found) > 30
    assert [
        (where, part)
        for where, part in found
        if (match := NAMED.fullmatch(part)) is None
        or match[1] not in (commands if match[2] else options)
    ] == []


def test_backquotes_come_in_pairs():
    assert [(where, text) for where, text in TEXTS if text.count("`") % 2] == []


def test_the_command_line_has_its_own_word_for_every_setting():
    for _, item in all_settings():
        assert in_options(f"use `{option_name(item)}`") == (
            f"use --{option_name(item).replace('_', '-')}"
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("use `n_classes=4` or less", "use --n-classes 4 or less"),
        ("choose `model=auto`", "choose --model auto"),
        ("use `classify()`", "use 'alps-geo classify'"),
        ("run `download(sam-vit-b)`", "run 'alps-geo models download sam-vit-b'"),
        ("with `classes=my run/out`", "with --classes 'my run/out'"),
        ("choose one with `layer`", "choose one with --layer"),
        ("`nothing` is known of `this()`", "`nothing` is known of `this()`"),
        ("no names at all", "no names at all"),
    ],
)
def test_the_command_line_translates_names(text, words):
    assert in_options(text) == words


def test_every_kind_of_error_has_a_code_of_its_own():
    kinds = [errors.AlpsGeoError, *subclasses(errors.AlpsGeoError)]
    codes = [kind("x").code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)*", code) for code in codes)


def subclasses(kind):
    for inner in kind.__subclasses__():
        yield inner
        yield from subclasses(inner)


@pytest.mark.parametrize(
    "kept",
    [
        errors.SceneError("no CRS", code="scene.no_crs", path="a.tif"),
        Notice("no CRS", code="scene.no_crs", path="a.tif"),
    ],
    ids=["error", "notice"],
)
def test_codes_and_values_reach_other_processes(kept):
    copy = pickle.loads(pickle.dumps(kept))
    assert (str(copy), copy.code, copy.values) == ("no CRS", "scene.no_crs", {"path": "a.tif"})


def test_settings_that_cannot_work_name_themselves_to_programs():
    with pytest.raises(errors.SettingsError, match="`tile_size` must be") as caught:
        alps_geo.Settings.from_options(tile_size=3)
    assert caught.value.code == "settings.tile_size"
    assert caught.value.values == {"setting": "tile_size", "found": 3}
