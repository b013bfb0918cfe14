"""The engine's messages in words of the command line.

The engine names settings and commands as Python has them, in backquotes: `n_classes`, `model=auto`,
`classify()`, `download(sam-vit-b)`. What they are called here follows from the commands themselves.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from functools import lru_cache

import click

_NAMED = re.compile(r"`(\w+)(?:=([^`]*)|(\()([^`]*)\))?`")


def in_options(text: str) -> str:
    """Return a message of the engine with options and commands in place of Python's names.

    Parameters
    ----------
    text : str
        Names that no command knows stay as they are.
    """
    return _NAMED.sub(_in_words, text)


def _in_words(found: re.Match[str]) -> str:
    name, value, is_call, arguments = found.groups()
    options, commands = command_names()
    if is_call and name in commands:
        return f"'{' '.join([commands[name], *_quoted(arguments)])}'"
    if is_call or name not in options:
        return found[0]
    return " ".join([options[name], *_quoted(value)])


def _quoted(value: str | None) -> list[str]:
    return [shlex.quote(value)] if value else []


@lru_cache(maxsize=1)
def command_names() -> tuple[dict[str, str], dict[str, str]]:
    """Return what each setting and each command of Python is called on the command line."""
    # Imported late: the commands report through this module.
    from .main import cli

    options: dict[str, str] = {}
    commands: dict[str, str] = {}
    for path, command in _walk("alps-geo", cli):
        commands[path.rpartition(" ")[2]] = path
        for parameter in command.params:
            if isinstance(parameter, click.Option) and parameter.name:
                options.setdefault(parameter.name, max(parameter.opts, key=len))
    return options, commands


def _walk(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield every command below a group with what starts it."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, member in command.commands.items():
        yield from _walk(f"{path} {name}", member)
