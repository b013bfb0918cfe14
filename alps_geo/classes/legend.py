"""Which classes there are, what they are called and how they are coloured."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SettingsError
from .palette import color_of

MAX_NAME_LENGTH = 100


@dataclass(frozen=True)
class Legend:
    """Names and colours of classes; a change makes a new legend.

    Attributes
    ----------
    size : int
        Ids are from 0 to `size` - 1; some may be gone.
    ids : tuple of int
        The ids of the classes there are, ascending.
    own_names, own_colors : mapping of int to str
        What the user chose; other classes have default names and the palette's colours.

    Raises
    ------
    SettingsError
        If an id is unknown, a name empty, unprintable, too long or given twice, or a colour not
        `#rrggbb`.
    """

    size: int
    ids: tuple[int, ...]
    own_names: Mapping[int, str] = field(default_factory=dict)
    own_colors: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value."""
        self.check_ids([*self.own_names, *self.own_colors])
        for class_id, name in self.own_names.items():
            _check_name(class_id, name)
        for class_id, color in self.own_colors.items():
            if not re.fullmatch("#[0-9a-f]{6}", color):
                raise SettingsError(
                    f"colour {color!r} of class {class_id} must be #rrggbb, such as"
                    f" {color_of(class_id)}"
                )
        owners: dict[str, int] = {}
        for class_id, name in self.names.items():
            other = owners.setdefault(name, class_id)
            if other != class_id:
                raise SettingsError(
                    f"classes {other} and {class_id} cannot both be called {name!r}; merge them,"
                    f" or choose another name"
                )

    @classmethod
    def restore(cls, size: int, classes: list[dict[str, Any]]) -> Legend:
        """Make a legend of records with id, name and color; what is so by default stays default."""
        default = cls(size, tuple(item["id"] for item in classes))
        return cls(
            size,
            default.ids,
            {i["id"]: i["name"] for i in classes if i["name"] != default.names[i["id"]]},
            {i["id"]: i["color"] for i in classes if i["color"] != default.colors[i["id"]]},
        )

    @property
    def names(self) -> dict[int, str]:
        """The name of each class, by id; `class_03` by default, so that names sort like ids."""
        return {
            class_id: self.own_names.get(class_id, self.default_name(class_id))
            for class_id in self.ids
        }

    @property
    def colors(self) -> dict[int, str]:
        """The colour of each class as `#rrggbb`, by id."""
        return {
            class_id: self.own_colors.get(class_id, color_of(class_id)) for class_id in self.ids
        }

    def default_name(self, class_id: int) -> str:
        """Return the name a class has until the user gives it one."""
        width = max(len(str(self.size - 1)), 2)
        return f"class_{class_id:0{width}}"

    def rename(self, names: Mapping[int, str]) -> Legend:
        """Return a legend where some classes are called otherwise; outer blanks are cut off."""
        own = {class_id: name.strip() for class_id, name in names.items()}
        return dataclasses.replace(self, own_names={**self.own_names, **own})

    def recolor(self, colors: Mapping[int, str]) -> Legend:
        """Return a legend where some classes have another colour, `#rrggbb`."""
        own = {class_id: color.lower() for class_id, color in colors.items()}
        return dataclasses.replace(self, own_colors={**self.own_colors, **own})

    def remove(self, class_id: int) -> Legend:
        """Return a legend without a class; the other ids stay."""
        return Legend(
            self.size,
            tuple(kept for kept in self.ids if kept != class_id),
            {kept: name for kept, name in self.own_names.items() if kept != class_id},
            {kept: color for kept, color in self.own_colors.items() if kept != class_id},
        )

    def renumber(self, new_ids: Mapping[int, int]) -> Legend:
        """Return a legend with other ids; what the user chose goes with its class."""
        return Legend(
            self.size,
            tuple(sorted(new_ids[class_id] for class_id in self.ids)),
            {new_ids[class_id]: name for class_id, name in self.own_names.items()},
            {new_ids[class_id]: color for class_id, color in self.own_colors.items()},
        )

    def check_ids(self, ids: Iterable[int]) -> None:
        """Raise `SettingsError` if one of the ids belongs to no class."""
        for class_id in ids:
            if class_id not in self.ids:
                raise SettingsError(
                    f"there is no class {class_id}; the ids are {_list_ranges(self.ids)}"
                )


def _check_name(class_id: int, name: str) -> None:
    if not name.strip():
        raise SettingsError(f"the name of class {class_id} is empty; give it at least one letter")
    if len(name) > MAX_NAME_LENGTH:
        raise SettingsError(
            f"the name of class {class_id} has {len(name)} characters; use {MAX_NAME_LENGTH} or"
            f" fewer"
        )
    # Control characters, lone surrogates (undecodable arguments) and line ends break layers.
    bad = [letter for letter in name if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    if bad:
        raise SettingsError(
            f"the name of class {class_id} holds the control character {bad[0]!r}; leave it out"
        )


def _list_ranges(ids: tuple[int, ...]) -> str:
    """Write ascending numbers with as few as possible: 0-3, 5, 7-9."""
    ranges: list[list[int]] = []
    for number in ids:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)
