"""How a setting is declared, with its help, limits and names, and how its value is checked."""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
import os
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, TypeVar

from ..errors import SettingsError

T = TypeVar("T")
Part = TypeVar("Part", bound="SettingsPart")


def setting(default: T, text: str, **extra: Any) -> T:
    """Declare a field with its help text and what the command line needs to know of it.

    Parameters
    ----------
    default
        The value when the user chooses none.
    text : str
        One sentence for `--help`, the QGIS dialog and the docs; with the unit.
    **extra
        `flags` (option names where not made from the field's name), `choices` (allowed words),
        `metavar` (what the value is called in the help), `least` and `most` (what a number can be),
        `key` (the name in files, where not the field's), `word` (what may stand for numbers).
    """
    value: T = field(default=default, metadata={"help": text, **extra})
    return value


def option_name(item: dataclasses.Field[Any]) -> str:
    """Return the name a setting has as a keyword and, with dashes, as an option."""
    flags: tuple[str, ...] = item.metadata.get("flags", ())
    longest = max((flag.split("/")[0] for flag in flags), key=len, default=item.name)
    return longest.lstrip("-").replace("-", "_")


class SettingsPart:
    """Base of the stages' settings: values come in as other libraries have them.

    A `Path` becomes text, and NumPy's numbers become Python's, so that settings can be written as
    JSON; what is of another type is refused.
    """

    def __post_init__(self) -> None:
        """Turn every value into the type that is declared."""
        kinds = typing.get_type_hints(type(self))
        for item in dataclasses.fields(self):  # type: ignore[arg-type]  # every part is a dataclass
            value = _as_declared(option_name(item), getattr(self, item.name), kinds[item.name])
            object.__setattr__(self, item.name, value)
            if value is not None:
                _check_declared(item, value)

    def to_json(self) -> dict[str, Any]:
        """Return the values by the keys that files have for them."""
        return {json_key(item): getattr(self, item.name) for item in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_json(cls: type[Part], values: Mapping[str, Any]) -> Part:
        """Make settings from what `to_json` gave, or a file of an earlier version has."""
        names = {json_key(item): item.name for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{names.get(key, key): value for key, value in values.items()})


def json_key(item: dataclasses.Field[Any]) -> str:
    """Return the name that a setting, or a part of them, has in files."""
    key: str = item.metadata.get("key", item.name)
    return key


def declared_types(
    part: dataclasses.Field[Any], item: dataclasses.Field[Any]
) -> tuple[tuple[Any, ...], bool]:
    """Return the types of a setting's value, the usual first, and whether it may be None.

    Parameters
    ----------
    part, item : dataclasses.Field
        As of `all_settings`.
    """
    kinds = typing.get_type_hints(part.default_factory)
    return _split_none(kinds[item.name])


def _split_none(kind: Any) -> tuple[tuple[Any, ...], bool]:  # noqa: ANN401 - a type, or a union
    members = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    kinds = tuple(member for member in members if member is not type(None))
    return kinds, len(kinds) < len(members)


def _check_declared(item: dataclasses.Field[Any], value: Any) -> None:  # noqa: ANN401 - of any type
    """Refuse a value that is none of the declared choices, or beyond the declared limits."""
    name, given = option_name(item), item.metadata
    if "choices" in given:
        choices = given["choices"]
        check(value in choices, name, f"must be one of {', '.join(choices)}", value)
    least, most = given.get("least"), given.get("most")
    if isinstance(value, str):  # a word that stands for a number has no limits
        return
    if most is not None:
        check(least <= value <= most, name, f"must be from {least:.10g} to {most:.10g}", value)
    elif least is not None:
        check(least <= value < math.inf, name, f"must be {least:.10g} or more", value)


def _as_declared(name: str, value: object, kind: Any) -> object:  # noqa: ANN401 - a type, or a union
    kinds, optional = _split_none(kind)
    if optional and value is None:
        return None
    # Numbers, or a word that stands for them.
    kind = str if str in kinds and isinstance(value, str) else kinds[0]
    if typing.get_origin(kind) is tuple:
        (inner, _) = typing.get_args(kind)
        if inner is str and isinstance(value, str | os.PathLike):
            value = (value,)  # one file is as good as a list of one
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise _refusal(name, "must be a sequence such as (3, 2, 1)", value)
        return tuple(_as_declared(name, member, inner) for member in value)
    what, convert = _CONVERTERS[kind]
    try:
        return convert(value)
    except TypeError:
        raise _refusal(name, f"must be {what}", value) from None


def _to_bool(value: Any) -> bool:  # noqa: ANN401 - anything
    # NumPy's truth values are no `bool`, but hold one.
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, bool):
        raise TypeError
    return value


def _to_int(value: Any) -> int:  # noqa: ANN401 - anything
    if isinstance(value, bool):
        raise TypeError
    return operator.index(value)


def _to_float(value: Any) -> float:  # noqa: ANN401 - anything
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError
    return float(value)


def _to_text(value: Any) -> str:  # noqa: ANN401 - anything
    return os.fsdecode(os.fspath(value))


_CONVERTERS: dict[type, tuple[str, Any]] = {
    bool: ("True or False", _to_bool),
    int: ("a whole number", _to_int),
    float: ("a number", _to_float),
    str: ("text", _to_text),
}


def check(holds: bool, name: str, rule: str, found: object) -> None:
    """Raise `SettingsError` unless a rule holds; all in the words of the message."""
    if not holds:
        raise _refusal(name, rule, found)


def _refusal(name: str, rule: str, found: object) -> SettingsError:
    text = f"`{name}` {rule}, not {found!r}"
    return SettingsError(text, code=f"settings.{name}", setting=name, found=found)
