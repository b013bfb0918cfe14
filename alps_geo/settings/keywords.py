"""Settings as keyword arguments: their types, and functions whose signature and help name each."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from . import Settings, all_settings, declared_types, option_name

F = TypeVar("F", bound=Callable[..., Any])

#: What stands for options in a docstring.
_PLACE = "    **options\n"
#: What a value is called that may be any kind of path.
_PATHS = ("FILE", "PATH", "MODEL")


def keyword_type(part: dataclasses.Field[Any], item: dataclasses.Field[Any]) -> str:
    """Return the type of a setting as a keyword: what `Settings` takes, not what it keeps.

    Parameters
    ----------
    part, item : dataclasses.Field
        As of `all_settings`.
    """
    kinds, optional = declared_types(part, item)
    return " | ".join([*(_type_name(kind, item) for kind in kinds), *["None"][: int(optional)]])


def _type_name(kind: Any, item: dataclasses.Field[Any]) -> str:  # noqa: ANN401 - a type
    if "choices" in item.metadata:
        return f"Literal[{', '.join(map(_quoted, item.metadata['choices']))}]"
    if kind == tuple[str, ...]:
        return "AnyPath | Sequence[AnyPath]"
    if kind is str and "word" in item.metadata:
        return f"Literal[{_quoted(item.metadata['word'])}]"
    if typing.get_origin(kind) is tuple:
        return f"Sequence[{typing.get_args(kind)[0].__name__}]"
    if kind is str and item.metadata.get("metavar") in _PATHS:
        return "AnyPath"
    name: str = kind.__name__
    return name


def _quoted(text: str) -> str:
    return f'"{text}"'


def with_options(*parts: str) -> Callable[[F], F]:
    """Make a function with `**options` show every option in its signature and its docstring.

    `help()`, notebooks and shells then complete and explain them; type checkers know them from
    `options`. The settings stay the one place where they are declared.

    Parameters
    ----------
    *parts : str
        Parts of `Settings` ('scene'); all if none.
    """

    def decorate(function: F) -> F:
        """Replace `**options`."""
        given = inspect.signature(function)
        own = [item for item in given.parameters.values() if item.kind is not item.VAR_KEYWORD]
        chosen = [
            (part, item)
            for part, item in all_settings()
            if (not parts or part.name in parts) and option_name(item) not in given.parameters
        ]
        keywords = [
            inspect.Parameter(
                option_name(item),
                inspect.Parameter.KEYWORD_ONLY,
                default=item.default,
                annotation=keyword_type(part, item),
            )
            for part, item in chosen
        ]
        shown: Any = function
        shown.__signature__ = given.replace(parameters=[*own, *keywords])
        if function.__doc__:
            shown.__doc__ = _describe(function.__doc__, chosen)
        return function

    return decorate


def _describe(
    text: str, chosen: list[tuple[dataclasses.Field[Any], dataclasses.Field[Any]]]
) -> str:
    """Return a docstring with an entry for each option where `**options` stood."""
    before, place, after = text.partition(_PLACE)
    if not place:
        raise ValueError("a docstring must say where its options go")
    entries = "\n".join(line for part, item in chosen for line in _entry(part, item))
    return f"{before}{entries}\n{after}"


def _entry(part: dataclasses.Field[Any], item: dataclasses.Field[Any]) -> Iterator[str]:
    kind = keyword_type(part, item).replace("AnyPath", "path")
    if "choices" in item.metadata:
        kind = f"{{{', '.join(map(repr, item.metadata['choices']))}}}"
    default = "optional" if item.default in (None, ()) else f"default {item.default!r}"
    yield f"    {option_name(item)} : {kind.removesuffix(' | None')}, {default}"
    text = " ".join(item.metadata["help"].split())
    margin = " " * 8
    yield from textwrap.wrap(text, 96, initial_indent=margin, subsequent_indent=margin)


def typed_dicts() -> str:
    """Return the source of `options`: what type checkers know of keywords, by part."""
    bases: dict[str, str] = {}
    lines: list[str] = []
    for part in dataclasses.fields(Settings):
        owner_type: Any = part.default_factory
        name = owner_type.__name__.replace("Settings", "Options")
        bases[part.name] = name
        text = (owner_type.__doc__ or "").splitlines()[0]
        lines += ["", "", f"class {name}(TypedDict, total=False):", f'    """{text}"""', ""]
        for owner, item in all_settings():
            if owner.name == part.name and option_name(item) != "model":
                lines.append(f"    {option_name(item)}: {keyword_type(owner, item)}")
    in_memory = [name for part, name in bases.items() if part not in ("tiles", "run")]
    for name, text, of in [
        ("ArrayOptions", "Options of an array in memory.", in_memory),
        ("Options", "Options of scenes.", list(bases.values())),
    ]:
        parents = "".join(f"\n    {base}," for base in of)
        lines += ["", "", f"class {name}({parents}\n    total=False,\n):", f'    """{text}"""']
    return "\n".join([*lines, "", ""])
