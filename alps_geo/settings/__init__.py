"""What a user can choose: one frozen, checked object per stage; standard library only.

The command line, the QGIS plugin and the docs take names, defaults, choices and help texts
from here: a setting is declared once. Wrong values raise `SettingsError` when an object is made.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from ..errors import SettingsError
from .declaration import declared_types, json_key, option_name
from .parts import (
    AUTO,
    FEATURES,
    ClassSettings,
    GateSettings,
    ModelSettings,
    OutputSettings,
    RunSettings,
    SamSettings,
    TileSettings,
)
from .scene import COMPONENTS, STRETCHES, SceneSettings

__all__ = [
    "AUTO",
    "COMPONENTS",
    "FEATURES",
    "STRETCHES",
    "ClassSettings",
    "GateSettings",
    "ModelSettings",
    "OutputSettings",
    "RunSettings",
    "SamSettings",
    "SceneSettings",
    "Settings",
    "TileSettings",
    "all_settings",
    "declared_types",
    "json_key",
    "option_name",
]


@dataclass(frozen=True)
class Settings:
    """All settings of a run, one object per stage."""

    scene: SceneSettings = field(default_factory=SceneSettings)
    tiles: TileSettings = field(default_factory=TileSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    gate: GateSettings = field(default_factory=GateSettings, metadata={"key": "masks"})
    sam: SamSettings = field(default_factory=SamSettings, metadata={"key": "masks"})
    classes: ClassSettings = field(default_factory=ClassSettings)
    outputs: OutputSettings = field(default_factory=OutputSettings)
    run: RunSettings = field(default_factory=RunSettings)

    @classmethod
    def from_options(cls, **options: object) -> Settings:
        """Return the default settings with some changed; see `change`."""
        return cls().change(**options)

    def change(self, **options: object) -> Settings:
        """Return the settings with some changed, sorted by name into the objects that own them.

        Parameters
        ----------
        **options
            Field names of the stages' settings; `tile_size` for `TileSettings.size`.

        Raises
        ------
        SettingsError
            If a name is unknown or a value cannot work.
        """
        names = {option_name(item): (part.name, item.name) for part, item in all_settings()}
        chosen: dict[str, dict[str, object]] = {}
        for option, value in options.items():
            if option not in names:
                raise SettingsError(f"unknown setting {option!r}; known: {', '.join(names)}")
            part_name, field_name = names[option]
            chosen.setdefault(part_name, {})[field_name] = value
        parts: dict[str, Any] = {
            name: dataclasses.replace(getattr(self, name), **values)
            for name, values in chosen.items()
        }
        return dataclasses.replace(self, **parts)

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return all settings by stage, under the keys that files have for them."""
        values: dict[str, dict[str, Any]] = {}
        for part in dataclasses.fields(self):
            values.setdefault(json_key(part), {}).update(getattr(self, part.name).to_json())
        return values


def all_settings() -> list[tuple[dataclasses.Field[Any], dataclasses.Field[Any]]]:
    """Return every setting as (part of `Settings`, field of that part), in order."""
    default: Any = Settings()
    return [
        (part, item)
        for part in dataclasses.fields(Settings)
        for item in dataclasses.fields(getattr(default, part.name))
    ]
