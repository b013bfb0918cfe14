"""A run as a whole: its folder and scenes, and its results as other libraries have such things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._environment import with_own_data
from ..classes.schema import FeatureBlock, FeatureSchema, own_block
from ..errors import RunError
from ..outputs.reading import read_class_sizes, read_labels, read_segments
from ..progress import Progress, listening
from ..scenes.grid import Grid
from ..scenes.tiles import plan_tiles
from ..segments.table import Segments
from ..settings import TileSettings
from ..settings.options import AnyPath
from .assembly import SceneRun
from .folder import RunFolder
from .record import read_record
from .reports import Evaluated, read_evaluation, write_report

if TYPE_CHECKING:
    from affine import Affine
    from geopandas import GeoDataFrame
    from numpy.typing import NDArray
    from pandas import DataFrame
    from rasterio.crs import CRS
    from rasterio.windows import Window


@dataclass(frozen=True, eq=False, repr=False)
class Run(PathLike[str]):
    """A run and its results; made by `alps_geo.label` and `alps_geo.open`.

    It stands for its folder wherever a path is asked for.

    Attributes
    ----------
    folder : Path
        Folder of the results.
    parts : tuple of SceneRun
        What the run folder keeps of each scene.
    manifest : mapping
        What the stored tiles depend on.

    Examples
    --------
    >>> import alps_geo
    >>> run = alps_geo.open("out")  # doctest: +SKIP
    >>> run.segments().plot("class_name")  # doctest: +SKIP
    """

    folder: Path
    parts: tuple[SceneRun, ...]
    manifest: Mapping[str, Any]

    @property
    def scenes(self) -> tuple[str, ...]:
        """The scenes' names: what `segments` and `labels` take."""
        return tuple(part.stem for part in self.parts)

    @property
    def label_paths(self) -> tuple[Path, ...]:
        """A label raster per scene."""
        return self._paths("labels.tif")

    @property
    def package_paths(self) -> tuple[Path, ...]:
        """A GeoPackage per scene."""
        return self._paths("labels.gpkg")

    @property
    def class_path(self) -> Path:
        """The class model."""
        return self.folder / "classes.safetensors"

    @property
    def record_path(self) -> Path:
        """The record, as JSON."""
        return self.folder / "run.json"

    @property
    def report_path(self) -> Path:
        """The report, one HTML page; not there if it was not wanted."""
        return self.folder / "report.html"

    @property
    def record(self) -> dict[str, Any]:
        """What was done with what, and what came out: versions, settings, coverage, times."""
        return read_record(self.record_path)

    @property
    def classes(self) -> DataFrame:
        """The classes by id: name, color, segments, area_px, share of all labelled pixels.

        Where one is of a published legend, also its code and uri, empty texts for others.

        Raises
        ------
        RunError
            If results are missing, damaged, or not all written.
        """
        # Takes a while to load, and labelling needs none of it.
        import pandas as pd

        record = self.record
        self._require_whole()
        sizes: dict[int, tuple[int, int]] = {}
        # Not whatever else lies there: copies, or what a run of other scenes left.
        for package in self.package_paths:
            for number, segments, area_px in read_class_sizes(package):
                before = sizes.get(number, (0, 0))
                sizes[number] = (before[0] + segments, before[1] + area_px)
        total = sum(area_px for _, area_px in sizes.values())
        rows = []
        for item in record["classes"]:
            segments, area_px = sizes.get(item["id"], (0, 0))
            share = area_px / total if total else 0.0
            published = (item.get("code", ""), item.get("uri", ""))
            size = (segments, area_px, share)
            rows.append((item["id"], item["name"], item["color"], *size, *published))
        columns = ["id", "name", "color", "segments", "area_px", "share", "code", "uri"]
        table = pd.DataFrame(rows, columns=columns).set_index("id")
        is_published = (table[["code", "uri"]] != "").any(axis=None)
        return table if is_published else table.drop(columns=["code", "uri"])

    @with_own_data
    def segments(self, scene: str | None = None) -> GeoDataFrame:
        """Return the segments as the layer `segments` has them.

        Parameters
        ----------
        scene : str, optional
            Name of a scene. Without it, all segments; those of several scenes have a column
            `scene` more.

        Returns
        -------
        GeoDataFrame
            Columns segment_id, class_id, class_name, area_m2, area_px, predicted_iou, stability,
            confidence, geometry.

        Raises
        ------
        RunError
            If there is no such scene, the scenes have different CRSs, or results are missing,
            damaged, or not all written.
        """
        self._require_whole()
        if scene is not None or len(self.parts) == 1:
            return read_segments(self.package_paths[self._index(scene)])
        import pandas as pd

        tables = [read_segments(path) for path in self.package_paths]
        if any(table.crs != tables[0].crs for table in tables):
            raise self._several("the scenes have different CRSs")
        for name, table in zip(self.scenes, tables, strict=True):
            table.insert(0, "scene", name)
        return pd.concat(tables, ignore_index=True)

    @with_own_data
    def labels(
        self, scene: str | None = None, *, window: Window | None = None, masked: bool = False
    ) -> tuple[NDArray[Any], Affine, CRS | None]:
        """Return the label raster of a scene.

        Parameters
        ----------
        scene : str, optional
            Name of a scene, where the run has several.
        window : rasterio.windows.Window, or ((row, row_stop), (col, col_stop)), optional
            Part of the raster; all of it by default.
        masked : bool
            Return a masked array: pixels without a label are masked.

        Returns
        -------
        labels : ndarray of uint8 or uint16, shape (height, width)
            Class ids; 255 (or 65535, above 255 classes) where there is no label.
        transform : affine.Affine
            Of the part.
        crs : rasterio.crs.CRS or None

        Raises
        ------
        RunError
            If there is no such scene, or several and none was named; if the window is not inside
            of it; if results are missing, damaged, or not all written.
        """
        self._require_whole()
        path = self.label_paths[self._index(scene)]
        return read_labels(path, window, masked=masked)

    @with_own_data
    def report(
        self,
        file: AnyPath | None = None,
        *,
        evaluation: Evaluated | Mapping[str, Any] | AnyPath | None = None,
        progress: Progress | bool | None = None,
    ) -> Path:
        """Write the report: one HTML page, which needs nothing else.

        Parameters
        ----------
        file : path, optional
            By default `report.html` among the results.
        evaluation : Evaluation, mapping or path, optional
            What `evaluate` returned, or a file of its JSON; becomes a part of the page.
        progress : Progress or bool, optional
            As of `label`.

        Returns
        -------
        Path
            Of the page.

        Raises
        ------
        RunError
            If results are missing, damaged, or not all written.
        ReferenceDataError
            If the evaluation is none, or one of other classes.
        OutputError
            If the file cannot be written.
        """
        record, path = self.record, self.report_path if file is None else Path(file)
        self._require_whole()
        found = None if evaluation is None else read_evaluation(evaluation, record)
        with listening(progress) as told:
            told.stage("report")
            write_report(self, record, path, told, evaluation=found)
        return path

    def __fspath__(self) -> str:
        return str(self.folder)

    def __repr__(self) -> str:
        return f"<Run {str(self.folder)!r}: {', '.join(self.scenes)}>"

    def _repr_html_(self) -> str:
        # Pictures and tables are for notebooks only.
        from .display import describe_html

        return describe_html(self)

    def _paths(self, name: str) -> tuple[Path, ...]:
        """Return where results go: by plain names, or by the scenes' stems."""
        if len(self.parts) == 1:
            return (self.folder / name,)
        return tuple(self.folder / f"{stem}.{name}" for stem in self.scenes)

    def _require_whole(self) -> None:
        RunFolder(self.folder).require_whole()

    def _index(self, scene: str | None) -> int:
        if scene is None:
            if len(self.parts) > 1:
                raise self._several(f"{self.folder} has several scenes")
            return 0
        if scene not in self.scenes:
            known = ", ".join(self.scenes)
            raise RunError(
                f"{self.folder} has no scene {scene!r}; it has {known}",
                code="run.no_such_scene",
                setting="scene",
                found=scene,
                allowed=list(self.scenes),
            )
        return self.scenes.index(scene)

    def _several(self, reason: str) -> RunError:
        return RunError(
            f"{reason}; choose one with `scene`: {', '.join(self.scenes)}",
            code="run.several_scenes",
            setting="scene",
            allowed=list(self.scenes),
        )


def features_in(manifest: Mapping[str, Any]) -> tuple[FeatureBlock, ...]:
    """Return a run's blocks of features; runs of versions that knew none have the model's own."""
    model = manifest["model"]
    own = {"name": own_block(model["name"]), "checksum": model["checksum"]}
    return tuple(FeatureBlock(**block) for block in manifest.get("features", [own]))


def open(folder: AnyPath) -> Run:
    """Open a finished run.

    Parameters
    ----------
    folder : path
        Folder of the results.

    Returns
    -------
    Run

    Raises
    ------
    RunError
        If there is no finished run.

    Examples
    --------
    >>> import alps_geo
    >>> alps_geo.open("out").classes  # doctest: +SKIP
    """
    place = RunFolder(Path(folder))
    read_record(place.out / "run.json")
    manifest = place.read_manifest()
    cut = TileSettings.from_json(manifest["settings"]["tiles"])
    parts = [
        plan_scene(place, stem, Grid.from_json(facts["grid"]), cut)
        for stem, facts in manifest["scenes"].items()
    ]
    return Run(place.out, tuple(parts), manifest)


def report(
    run: AnyPath,
    file: AnyPath | None = None,
    *,
    evaluation: Evaluated | Mapping[str, Any] | AnyPath | None = None,
    progress: Progress | bool | None = None,
) -> Path:
    """Write the report of a run: one HTML page, which needs nothing else.

    Parameters
    ----------
    run : Run or path
        A run, or its folder.
    file : path, optional
        By default `report.html` among the results.
    evaluation : Evaluation, mapping or path, optional
        What `evaluate` returned, or a file of its JSON; becomes a part of the page.
    progress : Progress or bool, optional
        As of `label`.

    Returns
    -------
    Path
        Of the page.

    Raises
    ------
    AlpsGeoError
        As `Run.report`.

    Examples
    --------
    >>> import alps_geo
    >>> alps_geo.report("out")  # doctest: +SKIP
    """
    return open(run).report(file, evaluation=evaluation, progress=progress)


def plan_scene(folder: RunFolder, stem: str, grid: Grid, settings: TileSettings) -> SceneRun:
    """Return a scene's part of a run, which knows its tiles."""
    tiles = plan_tiles(grid.height, grid.width, settings)
    return SceneRun(folder.scene_folder(stem), stem, grid, tuple(tiles))


def find_schema(run: Run, segments: Sequence[Segments]) -> FeatureSchema:
    """Return what class models of a run are made from, by its scenes' segments."""
    known = next((part for part in segments if part.feature_names), segments[0])
    return FeatureSchema(
        run.manifest["model"]["name"],
        run.manifest["model"]["checksum"],
        known.feature_names,
        known.feature_weights,
        run.manifest["stretch"],
        features_in(run.manifest),
    )
