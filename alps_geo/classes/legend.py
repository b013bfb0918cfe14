"""Which classes there are, what they are called and how they are coloured."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import SettingsError
from .palette import PALETTE, color_of

MAX_NAME_LENGTH, MAX_URI_LENGTH = 100, 500


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
    codes, uris : mapping of int to str
        What classes are in a published legend, such as `311` of CORINE; only of those that are.

    Raises
    ------
    SettingsError
        If an id is unknown, a name empty, unprintable, too long or given twice, a colour not
        `#rrggbb`, or a code or URI empty, unprintable or too long.
    """

    size: int
    ids: tuple[int, ...]
    own_names: Mapping[int, str] = field(default_factory=dict)
    own_colors: Mapping[int, str] = field(default_factory=dict)
    codes: Mapping[int, str] = field(default_factory=dict)
    uris: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check every value."""
        self.check_ids([*self.own_names, *self.own_colors, *self.codes, *self.uris])
        for what, texts in [("name", self.own_names), ("code", self.codes), ("URI", self.uris)]:
            for class_id, text in texts.items():
                _check_text(what, class_id, text)
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
        """Make a legend of what `to_records` gave; what is so by default stays default."""
        default = cls(size, tuple(item["id"] for item in classes))
        if any(number >= size for number in default.ids):
            raise ValueError(f"a class has an id of {size} or more")
        return cls(
            size,
            default.ids,
            {i["id"]: i["name"] for i in classes if i["name"] != default.names[i["id"]]},
            {i["id"]: i["color"] for i in classes if i["color"] != default.colors[i["id"]]},
            {i["id"]: i["code"] for i in classes if i.get("code")},
            {i["id"]: i["uri"] for i in classes if i.get("uri")},
        )

    def to_records(self) -> list[dict[str, Any]]:
        """Return a record per class: id, name, color; code and uri where it has them."""
        names, colors = self.names, self.colors
        return [
            {
                "id": class_id,
                "name": names[class_id],
                "color": colors[class_id],
                **({"code": self.codes[class_id]} if class_id in self.codes else {}),
                **({"uri": self.uris[class_id]} if class_id in self.uris else {}),
            }
            for class_id in self.ids
        ]

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

    def describe(self, codes: Mapping[int, str], uris: Mapping[int, str]) -> Legend:
        """Return a legend where some classes have another code or URI; none where it is empty."""
        own_codes = {key: code.strip() for key, code in {**self.codes, **codes}.items()}
        own_uris = {key: uri.strip() for key, uri in {**self.uris, **uris}.items()}
        self.check_ids([*codes, *uris])
        return dataclasses.replace(
            self,
            codes={key: code for key, code in own_codes.items() if code},
            uris={key: uri for key, uri in own_uris.items() if uri},
        )

    def free_id(self, name: str) -> int:
        """Return the id for one more class; raises `SettingsError` where another has its name."""
        owners = [class_id for class_id, other in self.names.items() if other == name]
        if owners:
            raise SettingsError(
                f"class {owners[0]} is called {name!r}, which is what segments that fit no class"
                " get; give it another name with `classes()`"
            )
        return self.size

    def add_named(self, names: Mapping[int, str], color: str | None = None) -> Legend:
        """Return a legend with some more classes, all of one colour, or the palette's."""
        size = max(self.size, max(names) + 1)
        colors = {} if color is None else dict.fromkeys(names, color)
        return dataclasses.replace(
            self,
            size=size,
            ids=tuple(sorted({*self.ids, *names})),
            own_names={**self.own_names, **names},
            own_colors={**self.own_colors, **colors},
        )

    def remove(self, class_id: int) -> Legend:
        """Return a legend without a class; the other ids stay."""
        return self._move({kept: kept for kept in self.ids if kept != class_id})

    def add(self, number: int) -> Legend:
        """Return a legend with some more classes, whose ids no class ever had.

        Parameters
        ----------
        number : int
            Their colours are the first of the palette that no class has.
        """
        new = range(self.size, self.size + number)
        taken = set(self.colors.values())
        free = [color for color in map(color_of, range(4 * len(PALETTE))) if color not in taken]
        colors = dict(zip(new, free, strict=False))
        return dataclasses.replace(
            self,
            size=self.size + number,
            ids=(*self.ids, *new),
            own_colors={**self.own_colors, **colors},
        )

    def renumber(self, new_ids: Mapping[int, int]) -> Legend:
        """Return a legend with other ids; what the user chose goes with its class."""
        return self._move(new_ids)

    def _move(self, new_ids: Mapping[int, int]) -> Legend:
        def moved(texts: Mapping[int, str]) -> dict[int, str]:
            return {new_ids[key]: text for key, text in texts.items() if key in new_ids}

        return Legend(
            self.size,
            tuple(sorted(new_ids[class_id] for class_id in self.ids if class_id in new_ids)),
            moved(self.own_names),
            moved(self.own_colors),
            moved(self.codes),
            moved(self.uris),
        )

    def check_ids(self, ids: Iterable[int]) -> None:
        """Raise `SettingsError` if one of the ids belongs to no class."""
        for class_id in ids:
            if class_id not in self.ids:
                raise SettingsError(
                    f"there is no class {class_id}; the ids are {_list_ranges(self.ids)}"
                )


def _check_text(what: str, class_id: int, text: str) -> None:
    if not text.strip():
        raise SettingsError(f"the {what} of class {class_id} is empty; give it at least one letter")
    longest = MAX_URI_LENGTH if what == "URI" else MAX_NAME_LENGTH
    if len(text) > longest:
        raise SettingsError(
            f"the {what} of class {class_id} has {len(text)} characters; use {longest} or fewer"
        )
    # Control characters, lone surrogates (undecodable arguments) and line ends break layers.
    bad = [letter for letter in text if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")]
    if bad:
        raise SettingsError(
            f"the {what} of class {class_id} holds the control character {bad[0]!r}; leave it out"
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
