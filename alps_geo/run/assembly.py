"""From the tiles of one scene to its segments, label map and polygons, all in the run folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from .._files import replacing
from .._memory import return_freed_memory
from ..errors import OutputError, RunError
from ..models.masks import GateCounts, Masks
from ..outputs.geopackage import MaskTable
from ..progress import Progress
from ..scenes.grid import Grid
from ..scenes.spans import Spans
from ..scenes.tiles import Tile
from ..segments.outlines import ReadSegments
from ..segments.painting import (
    SegmentRaster,
    gather_window,
    neighbourhood,
    paint_scene,
    shift_spans,
)
from ..segments.polygons import Polygons, outline_masks, polygonize, polygonize_simplified
from ..segments.stitching import Stitching, stitch
from ..segments.table import Segments, build_segments, load_segments
from ..segments.tile_results import TileResult, read_masks, read_tile
from ..settings import OutputSettings

#: A mask is part of another that holds at least this share of its pixels.
PART_SHARE = 0.9
#: Pixels whose outlines are in memory at a time, and polygons that are read and written at once.
BAND_PX, POLYGONS_AT_ONCE = 2**22, 2**13


@dataclass(frozen=True)
class SceneRun:
    """One scene's part of a run.

    Attributes
    ----------
    folder : Path
        The scene's part of the run folder.
    stem : str
        What its files are called.
    grid : Grid
    tiles : tuple of Tile
    """

    folder: Path
    stem: str
    grid: Grid
    tiles: tuple[Tile, ...]

    def tile_path(self, tile: Tile) -> Path:
        """Return where a tile's result is, or will be."""
        return self.folder / "tiles" / f"{tile.name}.parquet"

    def make_folder(self) -> None:
        """Make the folder of the tiles; workers do not, so that they notice another disk.

        Raises
        ------
        OutputError
            If the system does not let it be made.
        """
        folder = self.folder / "tiles"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror}") from error

    def missing_tiles(self) -> list[Tile]:
        """Return the tiles that are still to be labelled."""
        return [tile for tile in self.tiles if not self.tile_path(tile).exists()]

    @property
    def segment_raster(self) -> SegmentRaster:
        """The segment of every pixel."""
        return SegmentRaster(self.folder / "segments.tif")

    def load_facts(self) -> dict[str, Any]:
        """Return coverage, counts and timings of an assembled scene.

        Raises
        ------
        RunError
            If the scene is not assembled yet.
        """
        path = self.folder / "facts.json"
        try:
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read: the run is not finished; run `label()`"
            ) from error
        return facts

    def load_segments(self) -> Segments:
        """Return the table of segments; raises `RunError` as `load_segments` does."""
        return load_segments(self.folder)

    def load_polygons(self) -> Iterator[Polygons]:
        """Give the polygons in parts, raising `RunError` if they are missing or damaged."""
        path = self.folder / "polygons.parquet"
        with _explaining(path), pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                return_freed_memory()
                # Group by group: reading in batches, Arrow reads far ahead.
                group = file.read_row_group(number, use_threads=False)
                columns = [group[name].to_numpy() for name in ("segment_id", "geometry", "area_m2")]
                yield Polygons.from_wkb(*columns)

    def load_areas(self) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
        """Return the segments that have polygons, and their areas in m², as `load_polygons`."""
        with _explaining(self.folder / "polygons.parquet"):
            columns = ["segment_id", "area_m2"]
            table = pq.read_table(self.folder / "polygons.parquet", columns=columns)
        return table["segment_id"].to_numpy(), table["area_m2"].to_numpy()

    def load_outlines(self, segment_id: NDArray[np.integer]) -> dict[int, shapely.Geometry]:
        """Return the outlines of some segments, by number, as `load_polygons`."""
        path = self.folder / "polygons.parquet"
        found: dict[int, shapely.Geometry] = {}
        with _explaining(path), pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                present = file.read_row_group(number, columns=["segment_id"])[0].to_numpy()
                rows = np.flatnonzero(np.isin(present, segment_id))
                if len(rows):
                    group = file.read_row_group(number, columns=["geometry"], use_threads=False)
                    outlines = shapely.from_wkb(group[0].take(rows).to_numpy(zero_copy_only=False))
                    found |= dict(zip(present[rows].tolist(), outlines, strict=True))
        return found

    def load_masks(self) -> MaskTable:
        """Return the whole masks, raising `RunError` if they are missing or damaged."""
        table = _read(self.folder / "masks.parquet")
        columns = {name: table[name].to_numpy() for name in table.column_names}
        return MaskTable(**{**columns, "geometry": shapely.from_wkb(columns["geometry"])})

    def assemble(self, settings: OutputSettings, progress: Progress) -> None:
        """Stitch, paint, average and outline what the tiles hold; write it to the run folder.

        Parameters
        ----------
        settings : OutputSettings
        progress : Progress
        """
        # What stitching knows of every mask is gone before outlines are made.
        counts = self._stitch_and_paint(settings, progress)
        return_freed_memory()
        progress.stage("polygons")
        with self.segment_raster.open() as read:
            _write_polygons(
                self.folder / "polygons.parquet", self._outline(read, settings, progress)
            )
        return_freed_memory()
        facts = {**self._tile_facts(), **counts}
        unreadable = facts["unreadable_tiles"]
        if unreadable:
            names = ", ".join(list(unreadable)[:5])
            progress.warning(
                f"{len(unreadable)} of {len(self.tiles)} tiles could not be read"
                f" and stay unlabelled ({names}); run.json says why"
            )
        with replacing(self.folder / "facts.json") as temporary:
            temporary.write_text(json.dumps(facts), encoding="utf-8")

    def _stitch_and_paint(self, settings: OutputSettings, progress: Progress) -> dict[str, Any]:
        """Write the label map, the table of segments and the whole masks; return their counts."""
        progress.stage("stitch")
        stitching = stitch(self.tiles, self._read_masks, progress)
        return_freed_memory()
        progress.stage("paint")
        painting = paint_scene(
            self.segment_raster.path,
            self.grid,
            self.tiles,
            self._read_tile,
            stitching,
            fill=settings.fill,
            progress=progress,
        )
        build_segments(self.folder, self.tiles, self._read_tile, stitching, painting)
        if settings.keep_masks:
            progress.stage("masks")
            masks = self._trace_masks(stitching, progress)
            columns = {**vars(masks), "geometry": shapely.to_wkb(masks.geometry)}
            _write(self.folder / "masks.parquet", **columns)
        segments = {
            "visible": int(np.count_nonzero(painting.visible)),
            "hidden": int(np.count_nonzero(painting.visible[1:] == 0)),
            "stitched": stitching.n_stitched,
            "whole": stitching.n_whole,
            "cut": stitching.n_cut,
        }
        return {"segments": segments, "coverage_px": asdict(painting.coverage)}

    def _outline(
        self, read: ReadSegments, settings: OutputSettings, progress: Progress
    ) -> Iterator[Polygons]:
        """Give all polygons, in parts."""
        if settings.simplify > 0:
            tolerance = settings.simplify
            return polygonize_simplified(read, self.grid, tolerance, progress=progress)
        # The wider the scene, the lower the bands: their outlines are in memory together.
        band = min(2048, max(128, BAND_PX // self.grid.width // 128 * 128))
        return polygonize(read, self.grid, band=band, progress=progress)

    def _read_tile(self, index: int) -> TileResult:
        return read_tile(self.tile_path(self.tiles[index]))

    def _read_masks(self, index: int) -> Masks:
        return read_masks(self.tile_path(self.tiles[index]))

    def _tile_facts(self) -> dict[str, Any]:
        """Add up what the tiles counted and how long they took."""
        masks: dict[str, int] = dict.fromkeys(GateCounts.__dataclass_fields__, 0)
        seconds: dict[str, float] = {}
        unreadable: dict[str, str] = {}
        for index in range(len(self.tiles)):
            result = self._read_tile(index)
            for name, count in asdict(result.counts).items():
                masks[name] += count
            for name, spent in result.seconds.items():
                seconds[name] = seconds.get(name, 0.0) + spent
            if result.unreadable:
                unreadable[self.tiles[index].name] = result.unreadable
        counts = {"tiles": len(self.tiles), "masks": masks, "tile_seconds": seconds}
        return {**counts, "unreadable_tiles": unreadable}

    def _trace_masks(self, stitching: Stitching, progress: Progress) -> MaskTable:
        places = {(tile.row, tile.col): index for index, tile in enumerate(self.tiles)}
        owners, values, parts = [], [], []
        for index, tile in enumerate(self.tiles):
            near = neighbourhood(tile, places, reach=1)
            spans_of = {
                other: shift_spans(self._read_tile(other), self.tiles[other]) for other in near
            }
            segment, spans = gather_window(tile.core, spans_of, self.tiles, stitching)
            owners.append(segment[spans.owners])
            values.append(spans.values)
            pieces = Spans.unite(owners[-1], values[-1], len(stitching.area))
            parts.append(_common_pixels(pieces, tile))
            progress.step(index + 1, len(self.tiles))
        whole = Spans.unite(np.concatenate(owners), np.concatenate(values), len(stitching.area))
        number = np.flatnonzero(whole.areas)
        return MaskTable(
            number,
            _parents(np.concatenate(parts), whole.areas)[number],
            whole.areas[number],
            stitching.predicted_iou[number],
            stitching.stability[number],
            outline_masks(whole.take(number), self.grid),
        )


def _common_pixels(spans: Spans, tile: Tile) -> NDArray[np.int64]:
    """Return (set, other set, pixels they share) of all sets that overlap, shape (n, 3)."""
    core = tile.core
    present = np.flatnonzero(spans.areas)
    matrix = spans.take(present).shift(-core.row, -core.col).matrix(core.height, core.width)
    common = (matrix @ matrix.T).tocoo()
    first, second = common.coords
    rows = np.stack([present[first], present[second], common.data.astype(np.int64)], axis=1)
    others: NDArray[np.int64] = rows[first != second]
    return others


def _parents(common: NDArray[np.int64], areas: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each set the smallest larger one that holds it, 0 for none."""
    pairs, place = np.unique(common[:, :2], axis=0, return_inverse=True)
    shared = np.bincount(place.ravel(), common[:, 2], minlength=len(pairs))
    child, parent = pairs.T
    larger = (areas[parent] > areas[child]) | ((areas[parent] == areas[child]) & (parent < child))
    held = larger & (shared >= PART_SHARE * areas[child])
    child, parent = child[held], parent[held]
    order = np.lexsort((parent, -areas[parent]))
    parents = np.zeros(len(areas), np.int64)
    parents[child[order]] = parent[order]  # the last one, so the smallest, stays
    return parents


def _write(path: Path, **columns: NDArray[Any]) -> None:
    with replacing(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


def _write_polygons(path: Path, parts: Iterable[Polygons]) -> None:
    schema = pa.schema(
        {"segment_id": pa.uint32(), "geometry": pa.binary(), "area_m2": pa.float64()}
    )
    with (
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, compression="zstd") as file,
    ):
        for part in parts:
            columns = [part.segment_id, part.to_wkb(), part.area_m2]
            file.write_table(pa.table(columns, schema=schema), POLYGONS_AT_ONCE)


def _read(path: Path) -> pa.Table:
    with _explaining(path):
        return pq.read_table(path)


@contextmanager
def _explaining(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowInvalid) as error:
        raise RunError(f"{path} cannot be read: {error}; run `label()` again") from error
