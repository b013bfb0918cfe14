"""Options of the commands, made from the settings; and commands whose help is in sections.

A setting is declared once, in `alps_geo.settings`; its option, default, choices and help text
follow from there. Imports neither NumPy nor rasterio, so that `--help` is quick.
"""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from alps_geo.errors import SettingsError
from alps_geo.scenes.paths import is_text
from alps_geo.settings import (
    COMPONENTS,
    Settings,
    all_settings,
    declared_types,
    json_key,
    option_name,
)

# Headings of the help, in the order of a run; the keys are the parts of `Settings`.
SECTIONS = {
    "scene": "Scene",
    "tiles": "Tiles",
    "model": "Mask model",
    "masks": "Masks",
    "classes": "Classes",
    "outputs": "Outputs",
    "run": "Run",
}
PROGRESS_MODES = ("auto", "bar", "json", "none")
# The length of an option's name above which click starts its text on a new line.
NAMES_WIDTH = 26
#: Key of `click.Context.meta` under which a command's own arguments are kept.
ARGUMENTS = "alps_geo.cli.arguments"
F = TypeVar("F", bound=Callable[..., Any])


class SectionOption(click.Option):
    """An option that knows under which heading the help shows it."""

    def __init__(self, *args: Any, section: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class SectionCommand(click.Command):
    """A command with its options in sections, and an example at the end of its help."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        if examples:
            kwargs["epilog"] = "\n".join(["\b", "Examples:", *(f"  {line}" for line in examples)])
        super().__init__(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments as they were given, to tell later how to go on."""
        ctx.meta[ARGUMENTS] = tuple(args)
        for text in args:
            if not is_text(text):
                raise click.UsageError(
                    f"{text!a} has letters that this system's encoding lacks; set PYTHONUTF8=1, or"
                    " rename it",
                    ctx,
                )
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by section; those without one come first, `--help` last."""
        rows: dict[str, list[tuple[str, str]]] = {"": [], **{key: [] for key in SECTIONS}}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            # From click 8.4 on, arguments have records as well; they are in the usage line.
            if record is not None and isinstance(parameter, click.Option):
                rows[_section(parameter)].append(record)
        if not any(rows[key] for key in SECTIONS if key != "run"):
            rows = {"": [*rows[""], *rows["run"]]}
        # One column of texts for all sections, as far as click gives the options' names room.
        names = [len(name) for records in rows.values() for name, _ in records]
        width = min(NAMES_WIDTH, max(names, default=0))
        for key, records in rows.items():
            if records:
                with formatter.section(SECTIONS.get(key, "Options")):
                    aligned = [(name.ljust(width), text) for name, text in records]
                    formatter.write_dl(aligned, col_max=NAMES_WIDTH)


def _section(option: click.Option) -> str:
    # click does not call it `help`, but `_click_default_help`.
    is_help = "--help" in option.opts
    return "run" if is_help else getattr(option, "section", "")


class NumberOrWord(click.ParamType):  # type: ignore[type-arg]
    """A whole number, or a word that stands for one; the settings know which."""

    name = "number"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        """Turn digits into a number."""
        text = str(value).strip().lower()
        return int(text) if re.fullmatch(r"[+-]?\d+", text) else text


def parse_numbers(
    ctx: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[float, ...] | None:
    """Turn numbers with commas between them, such as `2,98`, into numbers; None where none is."""
    try:
        numbers = tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a list of numbers such as 2,98", ctx, parameter
        ) from None
    return numbers or None


def parse_bands(
    ctx: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...] | str:
    """Turn band numbers with commas between them, such as `3,2,1`, into numbers; `pca` stays."""
    if (text or "").strip().lower() == COMPONENTS:
        return COMPONENTS
    try:
        return tuple(int(part) for part in (text or "").split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a list of band numbers such as 3,2,1, nor pca", ctx, parameter
        ) from None


def settings_options(*names: str) -> Callable[[F], F]:
    """Add the options of some settings to a command.

    Parameters
    ----------
    *names : str
        Parts of `Settings` ('scene') or single options ('n_classes'); all settings if none.

    Returns
    -------
    callable
        A decorator; the command gets each value under `settings.option_name`.
    """

    def decorate(command: F) -> F:
        """Add the options to a command."""
        # Decorators add from the last to the first: reversed, the help has the settings' order.
        for part, item in reversed(all_settings()):
            if not names or part.name in names or option_name(item) in names:
                command = _make_option(part, item)(command)
        return command

    return decorate


def progress_option(command: F) -> F:
    """Add `--progress` to a command."""
    return click.option(
        "--progress",
        "progress_mode",
        type=click.Choice(PROGRESS_MODES),
        default="auto",
        show_default=True,
        cls=SectionOption,
        section="run",
        help="How progress is shown: a bar, JSON lines on stdout for a program that reads them,"
        " nothing, or auto: a bar on a terminal, else plain lines.",
    )(command)


def _make_option(part: dataclasses.Field[Any], item: dataclasses.Field[Any]) -> Callable[[F], F]:
    metadata = item.metadata
    name = option_name(item)
    text = metadata["help"]
    return click.option(
        *metadata.get("flags", (f"--{name.replace('_', '-')}",)),
        name,
        cls=SectionOption,
        section=json_key(part),
        help=text,
        # A default that is a rule, not a value, stands in the text.
        show_default="[default:" not in text and item.default not in (None, ()),
        **{"default": item.default, **_type_keywords(part, item)},
    )


def _type_keywords(part: dataclasses.Field[Any], item: dataclasses.Field[Any]) -> dict[str, Any]:
    metadata = item.metadata
    kinds, _ = declared_types(part, item)
    kind = kinds[0]
    if kind is bool:
        return {"is_flag": True}
    if "choices" in metadata:
        return {"type": click.Choice(metadata["choices"])}
    if kind == tuple[str, ...]:
        return {"type": click.Path(), "multiple": True, "metavar": metadata["metavar"]}
    if typing.get_origin(kind) is tuple:
        parse = parse_bands if typing.get_args(kind)[0] is int else parse_numbers
        return {"callback": parse, "default": None, "metavar": metadata.get("metavar")}
    if metadata.get("metavar") in ("FILE", "PATH", "MODEL"):
        # Only for completion in the shell: GDAL opens more than files, so nothing is checked here.
        return {"type": click.Path(), "metavar": metadata["metavar"]}
    if len(kinds) > 1:
        return {"type": NumberOrWord(), "metavar": metadata.get("metavar")}
    return {"type": kind, "metavar": metadata.get("metavar")}


def chosen(ctx: click.Context, name: str) -> bool:
    """Return True if the user gave this option, False if it has its default."""
    source = ctx.get_parameter_source(name)
    return source not in (None, click.core.ParameterSource.DEFAULT)


def check_classes_or_number(ctx: click.Context) -> None:
    """Refuse `-k` together with `--classes`: a class model has its own number of classes."""
    if chosen(ctx, "n_classes") and chosen(ctx, "classes"):
        raise SettingsError(
            "`n_classes` and `classes` exclude each other: a class model has its own number of"
            " classes",
            code="settings.classes",
            setting="classes",
        )


def make_settings(options: dict[str, Any]) -> Settings:
    """Make the settings from a command's options.

    Raises
    ------
    SettingsError
        If a value cannot work.
    """
    return Settings.from_options(**options)
