"""`alps_geo:name_classes`: names and colours from a table, classes joined."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    NULL,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterMatrix,
    QgsProcessingParameterString,
)

from ..runs import has_run, problem_of_ids
from .base import Parameters, RunAlgorithm, no_run, run_folder_parameter

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_MERGES = re.compile(r"\d+(\s*,\s*\d+)+")
_HEADERS = ("Class", "Name", "Colour (#rrggbb)")


class NameClasses(RunAlgorithm):
    """Name, colour and join the classes of a run."""

    NAME = "name_classes"
    TITLE = "Name classes"
    TAGS = ("legend", "rename", "merge", "colour")
    HELP = """<p>Gives classes names and colours, and joins classes that mean the same. Ids stay.
All files of the run are changed: rasters, GeoPackages, styles and the class model.</p>
<p><b>Classes</b>: a row per class to change: its number, a name, a colour such as #3a7d44; name or
colour may be empty. Without any row, the classes are only listed in the log.</p>
<p><b>Join</b>: groups of class numbers, such as <i>4,7; 2,9,11</i>. Each group gets the first of
its numbers.</p>"""
    STAGE_ENDS: ClassVar[dict[str, float]] = {"package": 60, "raster": 90, "report": 100}

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.addParameter(run_folder_parameter())
        table = QgsProcessingParameterMatrix(
            "CLASSES", "Classes", numberRows=4, headers=list(_HEADERS), optional=True
        )
        table.setHelp("Class number, name and colour; leave empty what shall stay.")
        self.addParameter(table)
        merges = QgsProcessingParameterString("MERGE", "Join", optional=True)
        merges.setHelp("Groups of class numbers: 4,7; 2,9,11")
        self.addParameter(merges)
        self.add_run_outputs(with_folder=True)

    def checkParameterValues(
        self, parameters: Parameters, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Return whether folder, table and groups can be understood."""
        holds, message = super().checkParameterValues(parameters, context)
        if not holds:
            return holds, message
        folder = self.path(parameters, "INPUT", context)
        if not has_run(folder):
            return False, no_run(folder)
        try:
            rows, groups = self._rows(parameters, context), self._groups(parameters, context)
        except QgsProcessingException as error:
            return False, str(error)
        problem = problem_of_ids(folder, [int(row[0]) for row in rows], groups)
        return not problem, problem

    def _edits(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Return the options of `alps-geo classes`."""
        edits: list[str] = []
        for number, name, color in self._rows(parameters, context):
            edits += ["--name", f"{number}={name}"] if name else []
            edits += ["--color", f"{number}={color}"] if color else []
        for group in self._groups(parameters, context):
            edits += ["--merge", ",".join(map(str, group))]
        return edits

    def _rows(self, parameters: Parameters, context: QgsProcessingContext) -> list[list[str]]:
        """Return the rows of the table that are filled in: number, name and colour."""
        cells = [
            "" if cell is None or cell == NULL else str(cell).strip()
            for cell in self.parameterAsMatrix(parameters, "CLASSES", context)
        ]
        width = len(_HEADERS)
        cells += [""] * (-len(cells) % width)
        rows = [cells[start : start + width] for start in range(0, len(cells), width)]
        return [_checked(*row) for row in rows if any(row)]

    def _groups(self, parameters: Parameters, context: QgsProcessingContext) -> list[list[int]]:
        """Return the groups of class numbers to join."""
        text = self.parameterAsString(parameters, "MERGE", context)
        groups = []
        for group in filter(None, (part.strip() for part in text.split(";"))):
            if not _MERGES.fullmatch(group):
                raise QgsProcessingException(
                    f"Join takes groups of two or more class numbers, as in 4,7; 2,9, not {group!r}"
                )
            groups.append([int(number) for number in group.split(",")])
        return groups

    def work(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Run the engine, list the classes, and return the run's results."""
        folder = self._folder
        result = self.run_engine(["classes", folder, *self._edits(parameters, context)], feedback)
        if result is None:
            feedback.pushWarning("Stopped. Run it again to be sure of the names.")
            return {"OUTPUT": folder}
        for item in result["classes"]:
            feedback.pushInfo(
                f"{item['id']:>4}  {item['color']}  {item['share']:>6.1%}  {item['name']}"
            )
        return self.finish(_paths(result["folder"]), parameters, context, feedback)


def _checked(number: str, name: str, color: str) -> list[str]:
    if not number.isdecimal():
        raise QgsProcessingException(f"A class is told by its number, not by {number!r}")
    if color and not _COLOR.fullmatch(color):
        raise QgsProcessingException(f"A colour looks like #3a7d44, not {color!r}")
    return [number, name, color]


def _paths(folder: str) -> dict[str, Any]:
    """Return the files of a run as `alps-geo label` tells them."""
    place = Path(folder)
    return {
        "folder": folder,
        "labels": [str(path) for path in sorted(place.glob("*labels.tif"))],
        "packages": [str(path) for path in sorted(place.glob("*labels.gpkg"))],
        "classes": str(place / "classes.safetensors"),
        "record": str(place / "run.json"),
    }
