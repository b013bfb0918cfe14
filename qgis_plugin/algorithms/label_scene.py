"""`alps_geo:label_scene`: a raster layer in, segments and pseudo-classes out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterRasterLayer,
    QgsProcessingUtils,
)

from .. import rasters
from ..areas import rectangle, write_polygons
from ..parameters import ADVANCED, all_names, make_parameter, to_arguments
from .base import Parameters, RunAlgorithm


class LabelScene(RunAlgorithm):
    """Label a scene: segments, and a class for each.

    Attributes
    ----------
    REQUIRED, BASIC : tuple of str
        Settings of the engine that must be given, and others that a form shows at once.
    """

    NAME = "label_scene"
    FOLDER = "OUTPUT"
    TITLE = "Label scene"
    TAGS: ClassVar[tuple[str, ...]] = (
        "segment anything",
        "sam",
        "unsupervised",
        "land cover",
        "clustering",
    )
    HELP = """<p>Cuts a georeferenced image into segments and groups like segments into classes,
without training data. The results open coloured by class. Classes have numbers, not meanings:
look at them, then use <i>Name classes</i>.</p>
<p><b>Mask model</b>: <i>Download model</i> brings SAM models; auto takes the best that is there,
else the built-in one, which needs nothing.</p>
<p>A run that was cancelled goes on where it stopped when it is started again with the same
settings and the same output folder.</p>
<p><b>Output folder</b>: labels.tif (a class per pixel), labels.gpkg (segments, and a layer per
class), classes.safetensors (the class model, for <i>Apply classes to another scene</i>) and
run.json (the record).</p>"""
    STAGE_ENDS: ClassVar[dict[str, float]] = {
        "scenes": 3,
        "tiles": 78,
        "stitch": 82,
        "paint": 85,
        "masks": 87,
        "polygons": 91,
        "classes": 93,
        "package": 97,
        "raster": 98,
        "report": 100,
    }
    REQUIRED: ClassVar[tuple[str, ...]] = ()
    BASIC: ClassVar[tuple[str, ...]] = ("model", "n_classes", "area_threshold")
    #: Settings that these scenes have no use for.
    # The number of classes is a number here, which nothing needs to find.
    LEFT_OUT: ClassVar[tuple[str, ...]] = ("k_method",)

    @property
    def advanced(self) -> list[str]:
        """Names of the settings that a form hides at first: all others, also future ones."""
        shown = ("bands", "aoi", "features", *self.REQUIRED, *self.BASIC, *self.LEFT_OUT)
        return [name for name in all_names() if name not in shown]

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Declare parameters and outputs."""
        self.addParameter(QgsProcessingParameterRasterLayer("INPUT", "Scene"))
        for name in self.REQUIRED:
            self.addParameter(make_parameter(name, required=True))
        self.addParameter(make_parameter("bands"))
        area = QgsProcessingParameterFeatureSource(
            "AOI",
            "Area of interest: polygons",
            [QgsProcessing.SourceType.TypeVectorPolygon],
            optional=True,
        )
        area.setHelp("Label only inside these polygons, in any CRS.")
        self.addParameter(area)
        extent = QgsProcessingParameterExtent("EXTENT", "Area of interest: extent", optional=True)
        extent.setHelp("Label only inside this rectangle.")
        self.addParameter(extent)
        for name in self.BASIC:
            self.addParameter(make_parameter(name))
        components = QgsProcessingParameterBoolean(
            "COMPONENTS", "Principal components of all bands instead of three bands", False
        )
        components.setHelp("Masks are made from the first three principal components.")
        components.setFlags(components.flags() | ADVANCED)
        self.addParameter(components)
        self.addParameter(make_parameter("features", advanced=True))
        rasters_of_features = QgsProcessingParameterMultipleLayers(
            "FEATURE_RASTERS",
            "Rasters to tell segments apart by",
            QgsProcessing.SourceType.TypeRaster,
            optional=True,
        )
        rasters_of_features.setHelp(
            "Other rasters of the same place, in any CRS and resolution, added to the features:"
            " heights, embeddings, images of other dates. Classes that are applied to another scene"
            " want layers of the same names there."
        )
        rasters_of_features.setFlags(rasters_of_features.flags() | ADVANCED)
        self.addParameter(rasters_of_features)
        for name in self.advanced:
            self.addParameter(make_parameter(name, advanced=True))
        folder = QgsProcessingParameterFolderDestination("OUTPUT", "Output folder")
        folder.setHelp("A run that was cancelled goes on when it gets the same folder again.")
        self.addParameter(folder)
        self.add_run_outputs(with_folder=False)

    def checkParameterValues(
        self, parameters: Parameters, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        """Return whether the values can work together, and else what to change."""
        holds, message = super().checkParameterValues(parameters, context)
        if not holds:
            return holds, message
        problem = self._problem(parameters, context)
        return not problem, problem

    def _problem(self, parameters: Parameters, context: QgsProcessingContext) -> str:
        most = self.parameterAsInt(parameters, "TILE_SIZE", context) // 2
        overlap = self.parameterAsInt(parameters, "OVERLAP", context)
        if overlap > most or overlap % 2:
            return f"Overlap must be even and at most half the tile size ({most}), not {overlap}"
        if parameters.get("AOI") is not None and parameters.get("EXTENT"):
            return "Give an area of interest as polygons or as an extent, not both"
        chosen = parameters.get("BANDS")
        bands = self.parameterAsInts(parameters, "BANDS", context) if chosen else []
        if bands and self.parameterAsBool(parameters, "COMPONENTS", context):
            return "Choose bands, or principal components of all bands, not both"
        if len(bands) == 2:
            return "Choose three bands (red, green, blue) and any more, or one, or none; not 2"
        for name, what in (("CLASSES", "Class model"), ("CHECKPOINT", "SAM checkpoint")):
            path = self.path(parameters, name, context)
            if path and not os.path.exists(path):  # noqa: PTH110 - an odd text is no path, no error
                return f"{what} is not there: {path}"
        layers = [
            self.parameterAsRasterLayer(parameters, "INPUT", context),
            *self.parameterAsLayerList(parameters, "FEATURE_RASTERS", context),
        ]
        return next(filter(None, map(rasters.problem, layers)), "")

    def prepareAlgorithm(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> bool:
        """Take from the layers what must be taken in the main thread."""
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, "INPUT"))
        self._scene = rasters.source(layer)
        self._crs = layer.crs()
        chosen = self.parameterAsLayerList(parameters, "FEATURE_RASTERS", context)
        self._blocks = [rasters.block(layer) for layer in chosen]
        return super().prepareAlgorithm(parameters, context, feedback)

    def work(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        """Run the engine and return its results."""
        out = self._folder
        arguments = ["label", self._scene, "-o", out]
        arguments += to_arguments(self, self._settings(), parameters, context)
        if self.parameterAsBool(parameters, "COMPONENTS", context):
            arguments += ["--bands", "pca"]
        arguments += self._features(parameters, context)
        area = self._write_area(parameters, context)
        if area is not None:
            arguments += ["--aoi", str(area)]
        files = {} if area is None else {str(area): self._area_name}
        result = self.run_engine(arguments, feedback, files=files)
        if result is None:
            feedback.pushWarning(
                "Stopped. Finished tiles are kept: to go on, run it again with the same settings"
                f" and the output folder {out}"
            )
            return {"OUTPUT": out}
        return self.finish(result, parameters, context, feedback)

    def _settings(self) -> tuple[str, ...]:
        return ("bands", *self.REQUIRED, *self.BASIC, *self.advanced)

    def _features(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Return what chooses features: those that are named, and rasters."""
        named = self.parameterAsString(parameters, "FEATURES", context) or "auto"
        features = "+".join([named, *self._blocks])
        return [] if features == "auto" else ["--features", features]

    def _write_area(self, parameters: Parameters, context: QgsProcessingContext) -> Path | None:
        """Write the area of interest to a file; None where the whole scene counts."""
        # The engine knows areas by their content: a resumed run may have its in another place.
        path = Path(QgsProcessingUtils.generateTempFilename("aoi.gpkg"))
        transforms = context.transformContext()
        if parameters.get("EXTENT"):
            self._area_name = "the chosen extent"
            box = self.parameterAsExtentGeometry(parameters, "EXTENT", context, self._crs)
            write_polygons(path, [rectangle(box)], self._crs, transforms)
            return path
        source = self.parameterAsSource(parameters, "AOI", context)
        if source is None:
            return None
        self._area_name = f"“{source.sourceName()}”"
        if self._crs.isValid() and not source.sourceCrs().isValid():
            raise QgsProcessingException(
                f"The area of interest, {self._area_name}, has no CRS: assign it the right one"
                " (Layer ▸ Set CRS of Layer(s)…)"
            )
        if source.sourceCrs().isValid() and not self._crs.isValid():
            raise QgsProcessingException(
                "The scene has no CRS, so that no area can be placed on it: assign it the right one"
                f" (Raster ▸ Projections ▸ Assign Projection…), or leave"
                f" {self._area_name} out"
            )
        if not write_polygons(path, source.getFeatures(), source.sourceCrs(), transforms):
            raise QgsProcessingException(
                f"The area of interest, {self._area_name}, has no polygons (or none is"
                " selected): choose another layer or none"
            )
        return path
