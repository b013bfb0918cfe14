"""Parameters of the algorithms, made from the engine's settings.

`settings.json` is written by `build` from `alps_geo.settings`: names, defaults, limits and help
texts are declared there and nowhere else. A parameter has its setting's name in capitals.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

_FILE = Path(__file__).with_name("settings.json")
_FILES = ("FILE", "PATH", "MODEL")
_UNITS = {"PX": "pixels", "METRES": "metres"}
# What a setting is called in a form, where its name in words would not do.
_TITLES = {
    "subdataset": "Part of a file with several rasters",
    "stretch_percentiles": "Percentiles of the stretch",
    "stretch_range": "Range of values to stretch",
    "nodata": "Value of pixels without data",
    "nodata_tolerance": "Tolerance of that value at borders",
    "gsd": "Ground sampling distance",
    "n_classes": "Number of classes",
    "classes": "Class model",
    "examples": "Examples of classes",
    "field": "Field of the examples with the classes",
    "reject": "Least probability of a class",
    "keep_rest": "Keep pseudo-classes for what fits no example",
    "model": "Mask model",
    "checkpoint": "SAM checkpoint file",
    "features": "Features",
    "area_threshold": "Largest mask, as a share of the tile",
    "min_area_px": "Smallest mask",
    "points_per_side": "SAM: prompt points per side",
    "pred_iou_thresh": "SAM: least predicted IoU",
    "stability_score_thresh": "SAM: least stability",
    "box_nms_thresh": "SAM: box IoU of duplicates",
    "feature_mode": "SAM: features",
    "precision": "SAM: precision",
    "fill": "Fill gaps up to",
    "keep_masks": "Add a layer with all masks",
    "report": "Write a report",
    "simplify": "Simplify polygons by",
    "workers": "Processes",
    "scheduler": "Dask scheduler",
    "skip_unreadable": "Leave tiles that cannot be read unlabelled",
    "overwrite": "Start again, even where a run can go on",
}
# What a form says of a setting, where its help text speaks of more than a form can do.
_HELP = {
    "n_classes": "Number of pseudo-classes.",
    "classes": "classes.safetensors in the output folder of a run, or that folder: the same ids,"
    " names and colours as there.",
}
#: Of parameters that a form hides at first.
ADVANCED = QgsProcessingParameterDefinition.Flag.FlagAdvanced
_OPTIONAL = QgsProcessingParameterDefinition.Flag.FlagOptional


#: QGIS' boxes for numbers hold no larger ones.
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Setting:
    """A setting of the engine.

    Attributes
    ----------
    name, flag : str
        Such as `tile_size` and `--tile-size`.
    off : str
        The flag that says no, where there is one.
    kind : {'int', 'float', 'str', 'bool', 'ints', 'floats', 'strs'}
        Of several numbers, `ints` are bands, `floats` a text with commas; of `strs`, which are
        files, a form takes one.
    default : object
    optional : bool
        True where nothing is a value.
    help : str
    choices : tuple of str
        Empty where any word will do.
    metavar : str
    least, most : float or None
    """

    name: str
    flag: str
    off: str
    kind: str
    default: Any
    optional: bool
    help: str
    choices: tuple[str, ...]
    metavar: str
    least: float | None
    most: float | None

    @property
    def parameter(self) -> str:
        """Name of the parameter."""
        return self.name.upper()

    @property
    def words(self) -> str:
        """What people call it."""
        return _TITLES.get(self.name, self.name.replace("_", " ").capitalize())

    @property
    def title(self) -> str:
        """What the parameter is called in a form, with its unit."""
        unit = _UNITS.get(self.metavar)
        return f"{self.words} ({unit})" if unit else self.words


@dataclass(frozen=True)
class Model:
    """A mask model that the engine knows; size in bytes, 0 where there is nothing to download."""

    name: str
    size: int
    licence: str


@lru_cache(maxsize=1)
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return content


def engine_version() -> str:
    """Return the version of the engine that the settings are of."""
    return str(_content()["version"])


def models() -> list[Model]:
    """Return the mask models, those without weights first."""
    return [
        Model(item["name"], item.get("size", 0), item.get("licence", ""))
        for item in _content()["models"]
    ]


def all_names() -> list[str]:
    """Return the names of all settings."""
    return [item["name"] for item in _content()["settings"]]


def setting(name: str) -> Setting:
    """Return a setting by its name; a KeyError if there is none."""
    for item in _content()["settings"]:
        if item["name"] == name:
            return Setting(
                name=name,
                flag=item["flag"],
                off=item.get("off", ""),
                kind=item["type"],
                default=item["default"],
                optional=item["optional"],
                help=item["help"].partition("  [default:")[0],
                choices=tuple(item.get("choices", ())),
                metavar=item.get("metavar", ""),
                least=item.get("least"),
                most=item.get("most"),
            )
    raise KeyError(name)


class _FileOrFolderParameter(QgsProcessingParameterFile):
    """A parameter for a file that may be named by its folder, which QGIS itself refuses."""

    def checkValueIsAcceptable(
        self,
        input: Any,  # noqa: ANN401 - as QGIS has it
        context: QgsProcessingContext | None = None,
    ) -> bool:
        """Return whether a value is a file or a folder."""
        if isinstance(input, str) and os.path.isdir(input):  # noqa: PTH112 - an odd text is none
            return True
        return bool(super().checkValueIsAcceptable(input, context))


def make_parameter(
    name: str, *, advanced: bool = False, required: bool = False
) -> QgsProcessingParameterDefinition:
    """Return the parameter of a setting.

    Parameters
    ----------
    name : str
        Of the setting.
    advanced : bool
        True for parameters that a form hides at first.
    required : bool
        True for parameters that must be given, though the engine has a default.
    """
    item = setting(name)
    parameter = _make(item)
    parameter.setHelp(_HELP.get(name, item.help))
    if required:
        parameter.setFlags(parameter.flags() & ~_OPTIONAL)
    if advanced:
        parameter.setFlags(parameter.flags() | ADVANCED)
    return parameter


def _make(item: Setting) -> QgsProcessingParameterDefinition:
    if item.kind == "ints":
        return QgsProcessingParameterBand(
            item.parameter,
            item.title,
            parentLayerParameterName="INPUT",
            optional=True,
            allowMultiple=True,
        )
    if item.kind == "bool":
        return QgsProcessingParameterBoolean(item.parameter, item.title, item.default)
    if item.kind in ("int", "float"):
        return _make_number(item)
    choices = [model.name for model in models()] if item.name == "model" else list(item.choices)
    if choices:
        return QgsProcessingParameterEnum(
            item.parameter,
            item.title,
            options=choices,
            defaultValue=item.default,
            usesStaticStrings=True,
        )
    if item.metavar in _FILES:
        kind = _FileOrFolderParameter if item.metavar == "MODEL" else QgsProcessingParameterFile
        return kind(
            item.parameter,
            item.title,
            behavior=QgsProcessingParameterFile.Behavior.File,
            optional=item.optional or item.kind == "strs",
        )
    return QgsProcessingParameterString(
        item.parameter, item.title, item.default, optional=item.optional
    )


def _make_number(item: Setting) -> QgsProcessingParameterNumber:
    types = QgsProcessingParameterNumber.Type
    parameter = QgsProcessingParameterNumber(
        item.parameter,
        item.title,
        types.Integer if item.kind == "int" else types.Double,
        item.default,
        item.optional,
    )
    if item.least is not None:
        parameter.setMinimum(item.least)
    elif item.kind == "float" and item.metavar != "VALUE":  # of pixels, which may be below 0
        parameter.setMinimum(0)
    if item.most is not None:
        parameter.setMaximum(min(item.most, _MOST))
    return parameter


def to_arguments(
    algorithm: QgsProcessingAlgorithm,
    names: Sequence[str],
    parameters: dict[str, Any],
    context: QgsProcessingContext,
) -> list[str]:
    """Return the command line arguments of some settings; defaults are left to the engine.

    Parameters
    ----------
    algorithm : QgsProcessingAlgorithm
        Has a parameter for each of them.
    names : sequence of str
        Of the settings.
    parameters : dict
    context : QgsProcessingContext
    """
    arguments: list[str] = []
    for name in names:
        item = setting(name)
        value = _value(algorithm, item, parameters, context)
        if value is None or value == item.default:
            continue
        if item.kind == "bool":
            arguments.append(item.flag if value else item.off)
        else:
            arguments += [item.flag, _text(value)]
    return arguments


def _value(
    algorithm: QgsProcessingAlgorithm,
    item: Setting,
    parameters: dict[str, Any],
    context: QgsProcessingContext,
) -> Any:  # noqa: ANN401 - as many types as settings have
    if item.optional and parameters.get(item.parameter) in (None, ""):
        return None
    read = {
        "ints": algorithm.parameterAsInts,
        "int": algorithm.parameterAsInt,
        "float": algorithm.parameterAsDouble,
        "bool": algorithm.parameterAsBool,
    }
    if item.kind in read:
        return read[item.kind](parameters, item.parameter, context)
    if item.name == "model" or item.choices:
        return algorithm.parameterAsEnumString(parameters, item.parameter, context)
    text = algorithm.parameterAsString(parameters, item.parameter, context)
    return (absolute(text) if item.metavar in _FILES else text) or None


def absolute(path: str) -> str:
    """Return a path as the engine finds it, which works in another folder; empty if it is."""
    return os.path.abspath(path) if path else ""  # noqa: PTH100 - links stay as they are


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
