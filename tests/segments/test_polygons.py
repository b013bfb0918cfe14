import math
import tracemalloc

import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from alps_geo.progress import RecordedProgress
from alps_geo.scenes.grid import Grid
from alps_geo.scenes.spans import Spans
from alps_geo.segments.polygons import Polygons, outline_masks, polygonize, polygonize_simplified

UTM = pyproj.CRS.from_epsg(32632)
NORTH_UP = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
IDENTITY = Affine.identity()
FEET = pyproj.CRS.from_epsg(2263)
GEOSTATIONARY = pyproj.CRS.from_proj4("+proj=geos +h=35785831 +lon_0=0 +sweep=y +ellps=GRS80")

images = hnp.arrays(
    np.uint32,
    st.tuples(st.integers(1, 13), st.integers(1, 13)),
    elements=st.integers(0, 3),
)
rotations = st.builds(
    lambda angle, sx, sy: (
        Affine.translation(4e5, 5e6) * Affine.rotation(angle) * Affine.scale(sx, sy)
    ),
    st.floats(0, 360),
    st.floats(0.1, 30),
    st.sampled_from([-1.0, 1.0, 0.5]),
)
# An outline that meets itself in a corner; a segment inside its own hole, with a hole.
PINCHED = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], np.uint32)
TWO_HOLES = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint32)
NESTED = np.ones((9, 9), np.uint32)
NESTED[1:-1, 1:-1] = 0
NESTED[2:-2, 2:-2] = 1
NESTED[4, 4] = 2


def outline(labels, *, crs=UTM, transform=NORTH_UP, **options):
    parts = polygonize(reader(labels), Grid(crs, transform, *labels.shape), **options)
    return Polygons.concatenate(list(parts))


def outline_simply(labels, tolerance, *, transform=NORTH_UP, **options):
    grid = Grid(UTM, transform, *labels.shape)
    parts = polygonize_simplified(reader(labels), grid, tolerance, **options)
    return Polygons.concatenate(list(parts))


def reader(labels):
    def read(window):
        assert window.row >= 0
        assert window.col >= 0
        assert window.row_stop <= labels.shape[0]
        assert window.col_stop <= labels.shape[1]
        return labels[window.slices]

    return read


def draw_blobs(height, width, count, seed=0):
    rng = np.random.default_rng(seed)
    rows, cols = rng.integers(0, height, count), rng.integers(0, width, count)
    grid_rows, grid_cols = np.mgrid[:height, :width]
    distance = np.hypot(grid_rows[..., None] - rows, grid_cols[..., None] - cols)
    return (np.argmin(distance + rng.normal(0, 1, distance.shape), axis=2) + 1).astype(np.uint32)


@given(labels=images, transform=rotations)
@example(labels=PINCHED, transform=NORTH_UP)
def test_rasterising_gives_the_segments_back_for_any_geotransform(labels, transform):
    polygons = outline(labels, transform=transform)
    shapes = list(zip(polygons.geometry, polygons.segment_id.tolist(), strict=True))
    drawn = np.zeros(labels.shape, np.uint32)
    if shapes:
        drawn = rasterio.features.rasterize(
            shapes, labels.shape, transform=transform, dtype="uint32"
        )
    np.testing.assert_array_equal(drawn, labels)


@given(labels=images, block=st.integers(1, 14), band=st.integers(1, 14))
@example(labels=PINCHED, block=1, band=1)
@example(labels=TWO_HOLES, block=2, band=2)
@example(labels=NESTED, block=3, band=3)
def test_block_borders_leave_no_trace(labels, block, band):
    whole, blocked = outline(labels), outline(labels, block=block, band=band)
    np.testing.assert_array_equal(whole.segment_id, blocked.segment_id)
    np.testing.assert_array_equal(whole.to_wkb(), blocked.to_wkb())
    np.testing.assert_array_equal(whole.area_m2, blocked.area_m2)


@given(labels=images)
@example(labels=PINCHED)
@example(labels=TWO_HOLES)
@example(labels=NESTED)
def test_polygons_are_valid_and_equal_to_gdals(labels):
    polygons = outline(labels, transform=IDENTITY)
    assert shapely.is_valid(polygons.geometry).all()
    parts = {}
    for shape, value in rasterio.features.shapes(labels.astype(np.int32), labels > 0):
        parts.setdefault(int(value), []).append(shapely.geometry.shape(shape))
    assert polygons.segment_id.tolist() == sorted(parts)
    for segment, geometry in zip(polygons.segment_id.tolist(), polygons.geometry, strict=True):
        assert shapely.equals(geometry, shapely.union_all(parts[segment]))
        assert len(geometry.geoms) == len(parts[segment])


@given(labels=images)
@example(labels=PINCHED)
def test_polygons_share_their_edges_vertex_by_vertex(labels):
    polygons = outline(labels, transform=IDENTITY)
    assert shapely.coverage_is_valid(polygons.geometry)


def test_segments_are_streamed_as_soon_as_they_end():
    labels = np.repeat(np.arange(1, 9, dtype=np.uint32), 10)[:, None].repeat(20, axis=1)
    grid = Grid(UTM, NORTH_UP, *labels.shape)
    parts = [part.segment_id.tolist() for part in polygonize(reader(labels), grid, block=20)]
    assert parts == [[], [1, 2], [3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize("cell", [16, 50, 512])
@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_shared_edges_are_simplified_once(tolerance, cell):
    labels = draw_blobs(90, 120, 40)
    exact, simple = outline(labels), outline_simply(labels, tolerance, cell=cell)
    np.testing.assert_array_equal(simple.segment_id, exact.segment_id)
    assert shapely.is_valid(simple.geometry).all()
    assert shapely.coverage_is_valid(simple.geometry)
    assert (shapely.get_type_id(simple.geometry) == shapely.GeometryType.MULTIPOLYGON).all()
    # The scene's border is straight, so nothing of it is cut off.
    assert simple.area_m2.sum() == pytest.approx(exact.area_m2.sum())
    assert shapely.area(shapely.union_all(simple.geometry)) == pytest.approx(simple.area_m2.sum())


def test_simplifying_removes_vertices():
    labels = draw_blobs(90, 120, 40)
    counts = [
        len(shapely.get_coordinates(polygons.geometry))
        for polygons in (outline(labels), outline_simply(labels, 1), outline_simply(labels, 3))
    ]
    assert counts[0] > 1.5 * counts[1] > 1.5 * counts[2]


def test_smaller_cells_keep_few_more_vertices():
    labels = draw_blobs(200, 200, 40)
    whole, cut = (
        len(shapely.get_coordinates(outline_simply(labels, 2, cell=cell).geometry))
        for cell in (200, 50)
    )
    assert whole < cut < 1.3 * whole


@given(labels=images, tolerance=st.floats(0.1, 8), cell=st.integers(1, 14))
@example(labels=PINCHED, tolerance=2.0, cell=2)
@example(labels=TWO_HOLES, tolerance=2.0, cell=2)
@example(labels=NESTED, tolerance=2.0, cell=3)
def test_simplified_polygons_tile_the_plane_for_any_image_and_cells(labels, tolerance, cell):
    simple = outline_simply(labels, tolerance, transform=IDENTITY, cell=cell)
    assert simple.segment_id.tolist() == np.unique(labels[labels > 0]).tolist()
    assert shapely.is_valid(simple.geometry).all()
    assert shapely.coverage_is_valid(simple.geometry)
    if (labels > 0).all():
        assert shapely.equals(
            shapely.union_all(simple.geometry), shapely.box(0, 0, *labels.shape[::-1])
        )


def test_simplified_edges_of_unlabelled_ground_lose_their_steps():
    labels = np.tri(40, 40, dtype=np.uint32)
    (triangle,) = outline_simply(labels, 1, transform=IDENTITY).geometry
    assert len(shapely.get_coordinates(triangle)) < 10


def test_simplified_segments_are_streamed_as_soon_as_they_end():
    labels = np.repeat(np.arange(1, 9, dtype=np.uint32), 10)[:, None].repeat(20, axis=1)
    grid = Grid(UTM, NORTH_UP, *labels.shape)
    parts = polygonize_simplified(reader(labels), grid, 1.0, cell=20)
    assert [part.segment_id.tolist() for part in parts] == [[1, 2], [3, 4], [5, 6], [7, 8]]


@pytest.mark.parametrize(
    "transform", [NORTH_UP, IDENTITY, Affine.rotation(30) * Affine.scale(2, -1)]
)
def test_shells_run_counter_clockwise_on_the_ground(transform):
    polygons = outline(NESTED, transform=transform)
    for part in shapely.get_parts(polygons.geometry):
        assert part.exterior.is_ccw
        assert not any(hole.is_ccw for hole in part.interiors)


def test_holes_are_kept_in_the_part_they_belong_to():
    geometry = outline(NESTED, transform=IDENTITY).geometry[0]
    assert [part.area for part in geometry.geoms] == [81 - 49, 25 - 1]


@pytest.mark.parametrize(
    ("crs", "unit", "place"),
    [
        (UTM, 1.0, (500_000, 5_500_000)),
        (FEET, 1200 / 3937, (980_000, 200_000)),
        (GEOSTATIONARY, 1.0, (0, 0)),
    ],
)
def test_projected_areas_are_planar_in_metres(crs, unit, place):
    labels = draw_blobs(40, 50, 12)
    transform = Affine.translation(*place) * Affine.scale(0.5, -0.5)
    polygons = outline(labels, crs=crs, transform=transform)
    np.testing.assert_allclose(polygons.area_m2, shapely.area(polygons.geometry) * unit**2)
    np.testing.assert_allclose(polygons.area_m2, np.bincount(labels.ravel())[1:] * 0.25 * unit**2)


@pytest.mark.parametrize("angle", [0, 17])
def test_geographic_areas_agree_with_pyproj(angle):
    labels = draw_blobs(40, 50, 12)
    labels[10:14, 20:24] = 0
    transform = Affine.translation(8, 47) * Affine.rotation(angle) * Affine.scale(1e-3, -1e-3)
    polygons = outline(labels, crs=pyproj.CRS.from_epsg(4326), transform=transform)
    geod = pyproj.Geod(ellps="WGS84")
    expected = [geod.geometry_area_perimeter(geometry)[0] for geometry in polygons.geometry]
    np.testing.assert_allclose(polygons.area_m2, expected, rtol=1e-9)


def test_areas_in_grads_agree_with_those_in_degrees():
    labels = draw_blobs(20, 20, 5)
    grads = pyproj.CRS.from_epsg(4807)
    by_grads = outline(labels, crs=grads, transform=Affine(1e-3, 0, 5, 0, -1e-3, 52))
    geod = pyproj.Geod(a=grads.ellipsoid.semi_major_metre, b=grads.ellipsoid.semi_minor_metre)
    degrees = shapely.transform(by_grads.geometry, lambda corners: corners * 0.9)
    expected = [geod.geometry_area_perimeter(geometry)[0] for geometry in degrees]
    np.testing.assert_allclose(by_grads.area_m2, expected, rtol=1e-9)


def test_a_segment_around_the_globe_has_the_globes_area():
    labels = np.ones((90, 180), np.uint32)
    labels[45:] = 2
    polygons = outline(
        labels, crs=pyproj.CRS.from_epsg(4326), transform=Affine(2, 0, -180, 0, -2, 90)
    )
    np.testing.assert_allclose(polygons.area_m2, 510_065_621_724_089 / 2, rtol=1e-6)


def test_areas_are_unknown_without_a_crs():
    assert np.isnan(outline(NESTED, crs=None).area_m2).all()


def test_nothing_gives_no_polygons():
    polygons = outline(np.zeros((5, 7), np.uint32))
    assert len(polygons) == 0
    assert polygons.segment_id.dtype == np.uint32
    assert len(Polygons.concatenate([])) == 0


def test_polygons_survive_well_known_binary():
    polygons = outline(draw_blobs(30, 30, 8))
    copy = Polygons.from_wkb(polygons.segment_id, polygons.to_wkb(), polygons.area_m2)
    assert shapely.equals_exact(copy.geometry, polygons.geometry).all()


def test_progress_counts_rows():
    progress = RecordedProgress()
    outline(np.ones((25, 5), np.uint32), block=10, progress=progress)
    assert [step[1:] for step in progress.steps] == [(10, 25), (20, 25), (25, 25)]


@given(bitmaps=hnp.arrays(bool, st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(1, 9))))
@settings(max_examples=50)
def test_outlines_of_overlapping_masks_cover_their_pixels(bitmaps):
    grid = Grid(None, IDENTITY, *bitmaps.shape[1:])
    geometry = outline_masks(Spans.from_bitmaps(bitmaps), grid)
    assert shapely.is_valid(geometry).all()
    rows, cols = np.mgrid[: grid.height, : grid.width] + 0.5
    for bitmap, outlined in zip(bitmaps, geometry, strict=True):
        np.testing.assert_array_equal(shapely.contains_xy(outlined, cols, rows), bitmap)


def test_a_mask_has_the_same_outline_as_a_segment():
    labels = draw_blobs(40, 50, 12)
    spans = Spans.from_labels(labels.astype(np.int64), 12)
    outlines = outline_masks(spans, Grid(UTM, NORTH_UP, *labels.shape))
    assert shapely.equals(outlines, outline(labels).geometry).all()


def test_work_space_is_bounded_by_the_block():
    labels = np.ones((3000, 3000), np.uint32)
    tracemalloc.start()
    outline(labels, block=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000
    assert math.isclose(outline(labels).area_m2[0], 3000**2 * 0.25)
