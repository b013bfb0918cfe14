import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning
from sklearn.metrics import confusion_matrix

from alps_geo.errors import ReadError, ReferenceDataError, RunError
from alps_geo.evaluation import comparison as module
from alps_geo.evaluation.comparison import evaluate
from alps_geo.progress import RecordedProgress

UTM = "EPSG:32640"
TRANSFORM = Affine(2, 0, 500_000, 0, -2, 2_780_000)
#: Left half 1, right half 2.
HALVES = np.repeat([[1, 2]], 20, axis=1).repeat(30, axis=0).astype(np.uint8)


@pytest.fixture
def write(tmp_path):
    def write_raster(name, values, *, crs=UTM, transform=TRANSFORM, nodata=None, **options):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.asarray(values)
        values = values[None] if values.ndim == 2 else values
        count, height, width = values.shape
        profile = {"count": count, "height": height, "width": width, "dtype": values.dtype}
        profile |= {"crs": crs, "transform": transform, "nodata": nodata} if crs else {}
        with rasterio.open(path, "w", driver="GTiff", **profile, **options) as file:
            file.write(values)
        return str(path)

    return write_raster


@pytest.fixture
def write_layer(tmp_path):
    def write_polygons(boxes, *, crs=UTM, name="truth.gpkg", layer="truth", **columns):
        """Write boxes given as (col, row, col_stop, row_stop) of the label grid."""
        corners = [(*TRANSFORM @ box[:2], *TRANSFORM @ box[2:]) for box in boxes]
        shapes = [shapely.box(x, y_low, x_high, y) for x, y, x_high, y_low in corners]
        table = gpd.GeoDataFrame(columns, geometry=shapes, crs=UTM)
        table = table.to_crs(crs) if crs else table.set_crs(None, allow_override=True)
        path = tmp_path / name
        table.to_file(path, layer=layer)
        return str(path)

    return write_polygons


@settings(max_examples=25)
@given(
    hnp.arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 255])),
    hnp.arrays(np.int16, (5, 7), elements=st.sampled_from([-9999, -1, 3, 700])),
)
def test_matrix_of_two_rasters_is_that_of_scikit_learn(tmp_path_factory, labels, classes):
    folder = tmp_path_factory.mktemp("pair")
    profile = {"driver": "GTiff", "height": 5, "width": 7, "count": 1, "crs": UTM}
    for name, values, nodata in (("a.tif", labels, 255), ("b.tif", classes, -9999)):
        options = {"dtype": values.dtype, "nodata": nodata, "transform": TRANSFORM}
        with rasterio.open(folder / name, "w", **profile, **options) as file:
            file.write(values, 1)
    referenced = classes != -9999
    both = referenced & (labels != 255)
    if not referenced.any():
        return
    result = evaluate(folder / "a.tif", folder / "b.tif")
    ids, known = np.unique(labels[both]), np.unique(classes[referenced])
    assert result.label_ids.tolist() == ids.tolist()
    assert result.class_names == tuple(str(number) for number in known)
    if both.any():
        pairs = labels[both].astype(int), classes[both].astype(int)
        names = np.union1d(ids, known)
        expected = confusion_matrix(*pairs, labels=names)
        rows, columns = np.searchsorted(names, ids), np.searchsorted(names, known)
        assert result.confusion.tolist() == expected[np.ix_(rows, columns)].tolist()
    assert result.missed.sum() == (referenced & (labels == 255)).sum()
    assert result.beyond == (~referenced & (labels != 255)).sum()


def test_windows_add_up_to_the_whole(write, monkeypatch):
    rng = np.random.default_rng(0)
    labels = write("labels.tif", rng.integers(0, 4, (70, 90), np.uint8))
    truth = write("truth.tif", rng.integers(0, 3, (70, 90), np.uint8))
    whole = evaluate(labels, truth)
    monkeypatch.setattr(module, "BLOCK_PX", 16)
    progress = RecordedProgress()
    assert evaluate(labels, truth, progress=progress).confusion.tolist() == whole.confusion.tolist()
    assert progress.steps[-1] == ("evaluate", 30, 30)


def test_unlabelled_pixels_count_as_errors_and_lower_the_coverage(write):
    values = HALVES - 1
    values[:, 30:] = 255
    result = evaluate(write("labels.tif", values, nodata=255), write("truth.tif", HALVES))
    assert result.measures["coverage"] == 0.75
    assert result.measures["miou"] == 0.75
    assert result.measures["accuracy"] == 0.75
    assert result.measures["miou_labelled"] == 1
    assert result.measures["purity"] == result.measures["ari"] == result.measures["nmi"] == 1


def test_labels_that_nowhere_meet_the_reference_are_a_result_with_a_note(write):
    labels = write("labels.tif", np.full_like(HALVES, 255), nodata=255)
    result = evaluate(labels, write("truth.tif", HALVES))
    assert result.measures["coverage"] == result.measures["miou"] == 0
    assert "no pixel with a reference class is labelled" in result.notes
    json.dumps(result.to_dict(), allow_nan=False)


def test_255_is_ignored_in_uint8_rasters_that_declare_no_nodata(write):
    truth = HALVES.copy()
    truth[:10] = 255
    result = evaluate(write("labels.tif", HALVES), write("truth.tif", truth))
    assert result.class_names == ("1", "2")
    assert result.beyond == 400
    assert "255 was ignored" in result.notes[0]


def test_255_is_a_class_in_a_mask_of_two_values(write):
    truth = np.where(HALVES == 1, 0, 255).astype(np.uint8)
    assert evaluate(write("labels.tif", HALVES), write("truth.tif", truth)).class_names == (
        "0",
        "255",
    )


def test_ignored_values_are_left_out_and_replace_the_rule_for_255(write):
    truth = HALVES.copy()
    truth[:10] = 255
    paths = write("labels.tif", HALVES), write("truth.tif", truth)
    result = evaluate(*paths, ignore=["1", "9"])
    assert result.class_names == ("2", "255")
    assert result.notes == ("the reference has no class 9 to ignore",)


def test_reference_on_another_grid_is_resampled_and_what_lies_outside_is_no_class(write):
    # Four times the pixels, and only the lower two thirds of the ground.
    truth = HALVES[10:].repeat(2, axis=0).repeat(2, axis=1) - 1
    finer = TRANSFORM @ Affine.translation(0, 10) @ Affine.scale(0.5)
    result = evaluate(write("labels.tif", HALVES), write("truth.tif", truth, transform=finer))
    assert result.confusion.tolist() == [[400, 0], [0, 400]]
    assert result.beyond == 400
    assert "resampled" in result.notes[0]


def test_reference_in_another_crs_is_reprojected(write):
    labels = write("labels.tif", HALVES)
    with rasterio.open(labels) as source:
        box = rasterio.warp.transform_bounds(UTM, "EPSG:4326", *source.bounds)
    degrees = rasterio.transform.from_bounds(*box, 40, 30)
    result = evaluate(labels, write("truth.tif", HALVES, crs="EPSG:4326", transform=degrees))
    assert result.measures["miou"] > 0.9


def test_reference_on_a_rotated_grid_is_resampled(write):
    turned = TRANSFORM @ Affine.rotation(90)
    # Seen from the turned grid, columns run down: its rows 0 to -39 are our columns.
    labels = write(
        "labels.tif", HALVES.T[::-1].copy(), transform=turned @ Affine.translation(0, -40)
    )
    result = evaluate(labels, write("truth.tif", HALVES))
    assert result.measures["miou"] == 1
    assert result.confusion.sum() == HALVES.size


def test_image_without_georeference_is_compared_pixel_by_pixel(write, tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(HALVES).save(path)
    result = evaluate(write("labels.tif", HALVES), path)
    assert result.measures["miou"] == 1
    assert "pixel by pixel" in result.notes[0]


def test_whole_numbers_stored_as_floats_are_classes_and_nan_is_none(write):
    truth = HALVES.astype(np.float32)
    truth[0] = np.nan
    result = evaluate(write("labels.tif", HALVES), write("truth.tif", truth))
    assert result.class_names == ("1", "2")
    assert result.beyond == 40


def test_category_names_beside_a_raster_name_its_classes(write, tmp_path):
    labels, truth = write("labels.tif", HALVES), write("truth.tif", HALVES)
    (tmp_path / "truth.tif.aux.xml").write_text(
        "<PAMDataset><PAMRasterBand band='1'><CategoryNames><Category></Category>"
        "<Category>water</Category></CategoryNames></PAMRasterBand></PAMDataset>"
    )
    assert evaluate(labels, truth).class_names == ("water", "2")
    assert evaluate(labels, truth, ignore=["water"]).class_names == ("2",)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857"])
def test_polygons_in_any_crs_are_rasterised_onto_the_labels(write, write_layer, crs):
    boxes = [(0, 0, 20, 30), (20, 0, 40, 15)]
    layer = write_layer(boxes, crs=crs, kind=["sea", "land"], note=["", ""])
    result = evaluate(write("labels.tif", HALVES), layer, attribute="kind")
    assert result.class_names == ("land", "sea")
    assert result.confusion.tolist() == [[0, 600], [300, 0]]
    assert result.beyond == 300


def test_polygons_are_rasterised_alike_in_small_windows(write, write_layer, monkeypatch):
    rng = np.random.default_rng(1)
    starts = rng.integers(0, 25, (30, 2))
    boxes = np.hstack([starts, starts + rng.integers(1, 15, (30, 2))]).tolist()
    layer = write_layer(boxes, kind=rng.integers(0, 5, 30).tolist())
    labels = write("labels.tif", rng.integers(0, 4, (30, 40), np.uint8))
    whole = evaluate(labels, layer)
    monkeypatch.setattr(module, "BLOCK_PX", 7)
    assert evaluate(labels, layer).confusion.tolist() == whole.confusion.tolist()


def test_smaller_polygon_wins_where_two_overlap(write, write_layer):
    layer = write_layer([(20, 0, 40, 30), (0, 0, 40, 30)], kind=["part", "whole"])
    result = evaluate(write("labels.tif", HALVES), layer)
    assert result.confusion.tolist() == [[0, 600], [600, 0]]


def test_numbers_of_a_field_sort_as_numbers(write, write_layer):
    layer = write_layer([(0, 0, 20, 30), (20, 0, 40, 30)], kind=[10.0, 2.0])
    assert evaluate(write("labels.tif", HALVES), layer).class_names == ("2", "10")


def test_polygons_without_a_value_are_left_out_with_a_note(write, write_layer):
    layer = write_layer([(0, 0, 20, 30), (20, 0, 30, 30), (30, 0, 40, 30)], kind=["a", "b", None])
    result = evaluate(write("labels.tif", HALVES), layer)
    assert result.class_names == ("a", "b")
    assert result.notes == ("1 polygons without a kind were left out",)


def test_reference_of_one_class_is_noted(write, write_layer):
    result = evaluate(write("labels.tif", HALVES), write_layer([(0, 0, 9, 9)], kind=["a"]))
    assert "one class only" in result.notes[0]


@pytest.mark.parametrize(
    ("labels", "said", "code"),
    [
        (np.ones_like(HALVES), "every label stands for", "reference.not_told_apart"),
        (
            HALVES,
            "no label stands for 1 of the 3 reference classes (3)",
            "reference.absent_classes",
        ),
    ],
    ids=["one label", "a small class"],
)
def test_labels_that_miss_classes_of_the_reference_are_noted(write, labels, said, code):
    truth = HALVES.copy()
    truth[:3, :3] = 3
    result = evaluate(write("labels.tif", labels), write("truth.tif", truth))
    assert [said in note for note in result.notes] == [True]
    assert [note.code for note in result.notes] == [code]
    assert said in result.to_dict()["notes"][0]


def test_labels_that_tell_all_classes_apart_are_not_warned_of(write):
    assert evaluate(write("labels.tif", HALVES), write("truth.tif", HALVES)).notes == ()


def test_missing_field_is_refused_and_the_fields_are_named(write, write_layer):
    layer = write_layer([(0, 0, 9, 9)], kind=["a"], use=["b"])
    with pytest.raises(ReferenceDataError, match=r"no field 'sort'; .* `attribute`: kind, use"):
        evaluate(write("labels.tif", HALVES), layer, attribute="sort")
    with pytest.raises(ReferenceDataError, match=r"vector layer; .* `attribute`: kind, use"):
        evaluate(write("labels.tif", HALVES), layer)


def test_one_of_several_layers_must_be_chosen(write, write_layer):
    write_layer([(0, 0, 20, 30)], kind=["a"], layer="first")
    layer = write_layer([(20, 0, 40, 30)], kind=["b"], layer="second")
    labels = write("labels.tif", HALVES)
    assert evaluate(labels, layer, layer="second").class_names == ("b",)
    with pytest.raises(ReferenceDataError, match=r"2 layers .* `layer`: first, second"):
        evaluate(labels, layer)
    with pytest.raises(ReferenceDataError, match="no layer 'third'"):
        evaluate(labels, layer, layer="third")


def test_layer_of_points_is_refused(write, tmp_path):
    points = gpd.GeoDataFrame({"kind": ["a"]}, geometry=gpd.points_from_xy([500_010], [2_779_990]))
    points.set_crs(UTM).to_file(tmp_path / "points.gpkg")
    with pytest.raises(ReferenceDataError, match="no polygons in any layer; lines and points"):
        evaluate(write("labels.tif", HALVES), tmp_path / "points.gpkg")


def test_layer_without_fields_is_refused(write, write_layer):
    with pytest.raises(ReferenceDataError, match="no field that could hold classes"):
        evaluate(write("labels.tif", HALVES), write_layer([(0, 0, 9, 9)]))


def test_polygons_elsewhere_are_refused(write, write_layer):
    layer = write_layer([(1000, 1000, 1010, 1010)], kind=["a"])
    with pytest.raises(ReferenceDataError, match=r"no polygon of .* overlaps the labels"):
        evaluate(write("labels.tif", HALVES), layer)


def test_vector_layer_without_crs_is_refused(write, write_layer):
    with pytest.warns(UserWarning, match="'crs' was not provided"):
        layer = write_layer([(0, 0, 9, 9)], kind=["a"], crs=None, name="truth.shp")
    with pytest.raises(ReferenceDataError, match=r"truth\.shp: the reference has no CRS"):
        evaluate(write("labels.tif", HALVES), layer)


def test_raster_without_crs_and_of_another_size_is_refused(write, tmp_path):
    with pytest.warns(NotGeoreferencedWarning):
        truth = write("truth.tif", HALVES[:9], crs=None)
    with pytest.raises(ReferenceDataError, match=r"truth\.tif has no CRS, and the sizes differ"):
        evaluate(write("labels.tif", HALVES), truth)


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3031"])
def test_raster_elsewhere_is_refused(write, crs):
    far = (
        Affine(0.001, 0, -80, 0, -0.001, -70)
        if crs == "EPSG:4326"
        else Affine(2, 0, 900_000, 0, -2, 900_000)
    )
    truth = write("truth.tif", HALVES, crs=crs, transform=far)
    with pytest.raises(ReferenceDataError, match="do not overlap"):
        evaluate(write("labels.tif", HALVES), truth)


def test_reference_that_is_all_nodata_is_refused(write):
    truth = write("truth.tif", np.zeros_like(HALVES), nodata=0)
    with pytest.raises(ReferenceDataError, match="nodata or ignored"):
        evaluate(write("labels.tif", HALVES), truth)


def test_image_instead_of_classes_is_refused(write):
    with pytest.raises(ReferenceDataError, match="has 2 bands of uint8; class numbers"):
        evaluate(write("labels.tif", HALVES), write("truth.tif", np.stack([HALVES] * 2)))
    measured = write("truth.tif", HALVES + np.float32(0.25))
    with pytest.raises(ReferenceDataError, match=r"holds 1\.25, which is no class number"):
        evaluate(write("labels.tif", HALVES), measured)
    with pytest.raises(ReferenceDataError, match="complex"):
        evaluate(write("labels.tif", HALVES), write("truth.tif", HALVES.astype(np.complex64)))


def test_object_numbers_instead_of_classes_are_refused(write, monkeypatch):
    objects = np.arange(HALVES.size, dtype=np.int32).reshape(HALVES.shape)
    paths = write("labels.tif", HALVES), write("truth.tif", objects)
    assert evaluate(*paths).confusion.shape == (2, 1200)
    monkeypatch.setattr(module, "MAX_CELLS", 1000)
    with pytest.raises(ReferenceDataError, match="2 labels and 1200 reference values are too many"):
        evaluate(*paths)


@pytest.mark.parametrize(("dtype", "lowest"), [("float64", -1e300), ("int32", -(2**31))])
def test_nodata_value_that_is_not_declared_is_refused(write, dtype, lowest):
    truth = HALVES.astype(dtype)
    truth[0] = lowest
    with pytest.raises(ReferenceDataError, match=r"declare .*rio edit-info"):
        evaluate(write("labels.tif", HALVES), write("truth.tif", truth))


def test_what_does_not_exist_or_is_no_raster_is_refused(write, tmp_path):
    labels = write("labels.tif", HALVES)
    (tmp_path / "notes.txt").write_text("no raster")
    with pytest.raises(ReferenceDataError, match=r"nowhere\.tif does not exist"):
        evaluate(labels, tmp_path / "nowhere.tif")
    with pytest.raises(ReferenceDataError, match="neither a raster nor a vector layer"):
        evaluate(labels, tmp_path / "notes.txt")
    with pytest.raises(ReferenceDataError, match="not a raster that GDAL reads"):
        evaluate(tmp_path / "notes.txt", labels)


def test_damaged_reference_is_named_with_the_place(write, tmp_path):
    truth = write("truth.tif", np.random.default_rng(0).integers(0, 9, (300, 400), np.uint8))
    whole = (tmp_path / "truth.tif").read_bytes()
    (tmp_path / "truth.tif").write_bytes(whole[: len(whole) // 2])
    labels = write("labels.tif", np.zeros((300, 400), np.uint8))
    with pytest.raises(ReadError, match=r"truth\.tif cannot be read at \(0, 0, 300, 400\)"):
        evaluate(labels, truth)


def test_run_is_found_by_its_folder_and_two_runs_agree_whatever_their_class_ids(write, tmp_path):
    write("one/labels.tif", HALVES, nodata=255)
    write("two/labels.tif", 9 - HALVES, nodata=255)
    for run in ("one", "two"):
        (tmp_path / run / "run.json").write_text("{}")
    result = evaluate(tmp_path / "one", tmp_path / "two" / "labels.tif")
    assert result.is_agreement
    assert result.measures["ari"] == result.measures["accuracy_hungarian"] == 1
    assert not evaluate(tmp_path / "one", write("truth.tif", HALVES)).is_agreement


def test_folder_without_labels_is_refused(write, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        RunError, match=r"holds no labels\.tif; label a scene into it with `label\(\)` first"
    ):
        evaluate(tmp_path / "empty", write("truth.tif", HALVES))


def test_scenes_of_two_runs_are_paired_by_name_and_added_up(write, tmp_path):
    for run in ("one", "two"):
        write(f"{run}/east.labels.tif", HALVES)
        write(f"{run}/west.labels.tif", HALVES[:10])
    assert evaluate(tmp_path / "one", tmp_path / "two").confusion.sum() == HALVES.size * 4 // 3
    chosen = evaluate(tmp_path / "one", tmp_path / "two", scene="west")
    assert chosen.confusion.sum() == HALVES.size // 3


def test_scene_of_a_run_is_chosen_by_the_name_of_the_reference_or_by_hand(write, tmp_path):
    write("run/east.labels.tif", HALVES)
    write("run/west.labels.tif", HALVES[:10])
    named = evaluate(tmp_path / "run", write("west_truth.tif", HALVES[:10]))
    assert named.labels == (str(tmp_path / "run" / "west.labels.tif"),)
    truth = write("truth.tif", HALVES)
    assert evaluate(tmp_path / "run", truth, scene="east").confusion.sum() == HALVES.size
    with pytest.raises(RunError, match="choose one with `scene`: east, west"):
        evaluate(tmp_path / "run", truth)
    with pytest.raises(RunError, match="no labels of the scene 'north'; it has east, west"):
        evaluate(tmp_path / "run", truth, scene="north")


def test_result_is_plain_and_names_what_stands_for_what(write):
    document = evaluate(write("labels.tif", 3 - HALVES), write("truth.tif", HALVES)).to_dict()
    json.dumps(document, allow_nan=False)
    assert document["clusters"] == [
        {"id": 1, "name": "1", "class": "2", "class_hungarian": "2"},
        {"id": 2, "name": "2", "class": "1", "class_hungarian": "1"},
    ]
    assert document["classes"][0] == {"name": "1", "pixels": 600, "iou": 1.0, "iou_hungarian": 1.0}


def test_class_that_smaller_polygons_cover_is_told(write, write_layer):
    boxes = [(0, 0, 40, 30), (0, 0, 40, 15), (0, 15, 40, 30), (35, 29, 35.2, 29.2)]
    layer = write_layer(boxes, kind=["whole", "upper", "lower", "dot"])
    result = evaluate(write("labels.tif", HALVES), layer)
    assert result.class_names == ("lower", "upper")
    contested, gone, absent = result.notes
    assert "no label stands for" in absent or "every label stands for" in absent
    assert "1,200 pixels lie in polygons of several classes" in contested
    assert "no pixel is left for the class 'dot', 'whole'" in gone


def test_polygons_of_one_class_may_overlap_without_a_word(write, write_layer):
    layer = write_layer([(0, 0, 20, 30), (5, 5, 15, 15), (20, 0, 40, 30)], kind=["a", "a", "b"])
    assert evaluate(write("labels.tif", HALVES), layer).notes == ()


@pytest.mark.parametrize("nothing", ["", "   ", None])
def test_text_without_letters_is_no_class(write, write_layer, nothing):
    boxes = [(0, 0, 20, 30), (20, 0, 30, 30), (30, 0, 40, 30)]
    layer = write_layer(boxes, kind=["a", " b ", nothing], name="truth.geojson")
    result = evaluate(write("labels.tif", HALVES), layer, attribute="kind")
    assert result.class_names == ("a", "b")
    assert "1 polygons without a kind were left out" in result.notes
    assert result.beyond == 300


def test_infinite_numbers_are_no_class(write, write_layer):
    layer = write_layer([(0, 0, 20, 30), (20, 0, 40, 30)], kind=[1.5, np.inf])
    assert evaluate(write("labels.tif", HALVES), layer).class_names == ("1.5",)


def test_classes_that_differ_in_capitals_only_are_told(write, write_layer):
    layer = write_layer([(0, 0, 20, 30), (20, 0, 40, 30)], kind=["Water", "water"])
    result = evaluate(write("labels.tif", HALVES), layer)
    assert result.class_names == ("Water", "water")
    assert "'Water' and 'water' count as different classes" in result.notes[0]


def test_field_without_a_value_on_the_labels_is_refused(write, write_layer):
    layer = write_layer([(0, 0, 20, 30)], kind=["  "])
    with pytest.raises(ReferenceDataError, match="no polygon on the labels has a value of kind"):
        evaluate(write("labels.tif", HALVES), layer)


def test_field_of_lists_is_refused(write, write_layer, tmp_path):
    table = gpd.read_file(write_layer([(0, 0, 20, 30)], kind=["a"]))
    table["tags"] = [["a", "b"]]
    table.to_parquet(tmp_path / "truth.parquet")
    with pytest.raises(ReferenceDataError, match=r"field tags holds .* values, which name no"):
        evaluate(write("labels.tif", HALVES), tmp_path / "truth.parquet", attribute="tags")


def test_booleans_and_dates_are_classes(write, write_layer):
    boxes = [(0, 0, 20, 30), (20, 0, 40, 30)]
    layer = write_layer(boxes, flag=[True, False])
    assert evaluate(write("labels.tif", HALVES), layer).class_names == ("False", "True")


def test_numbers_of_our_own_are_no_classes_to_ignore(write, write_layer):
    boxes = [(0, 0, 10, 30), (10, 0, 20, 30), (20, 0, 40, 30)]
    labels = write("labels.tif", HALVES)
    numbered = write_layer(boxes, kind=[1, 2, 3], name="numbers.gpkg")
    assert evaluate(labels, numbered, ignore=["1"]).class_names == ("2", "3")
    named = write_layer(boxes, kind=["a", "b", "c"], name="names.gpkg")
    result = evaluate(labels, named, ignore=["1"])
    assert result.class_names == ("a", "b", "c")
    assert result.notes[0] == "the reference has no class 1 to ignore"


def test_table_without_geometry_is_no_layer_to_choose(write, write_layer, tmp_path):
    layer = write_layer([(0, 0, 20, 30)], kind=["a"])
    styles = pd.DataFrame({"style": ["red"]})
    pyogrio.write_dataframe(styles, layer, layer="layer_styles", append=True)
    assert evaluate(write("labels.tif", HALVES), layer).class_names == ("a",)


RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def coloured(left, right):
    return np.moveaxis(np.where(HALVES[..., None] == 1, left, right), 2, 0).astype(np.uint8)


def test_colours_are_classes(write):
    labels = write("labels.tif", HALVES)
    result = evaluate(labels, write("truth.tif", coloured(RED, GREEN)))
    assert result.class_names == ("#00c800", "#c80000")
    assert result.confusion.tolist() == [[0, 600], [600, 0]]
    assert evaluate(labels, write("truth.tif", coloured(RED, GREEN)), ignore=["#c80000"]).beyond


@pytest.mark.parametrize("crs", [UTM, "EPSG:4326"])
def test_colours_on_another_grid_are_classes_and_what_lies_outside_is_none(write, crs):
    labels = write("labels.tif", HALVES)
    box = (500_000, 2_780_000 - 40, 500_080, 2_780_000)
    box = box if crs == UTM else rasterio.warp.transform_bounds(UTM, crs, *box)
    truth = coloured(RED, (0, 0, 0)).repeat(3, axis=1).repeat(3, axis=2)
    place = rasterio.transform.from_bounds(*box, 120, 90)
    result = evaluate(labels, write("truth.tif", truth, crs=crs, transform=place))
    assert set(result.class_names) == {"#c80000", "#000000"}
    assert result.confusion.sum() == pytest.approx(800, abs=60)


def test_alpha_and_nodata_of_a_coloured_mask_are_no_class(write):
    labels = write("labels.tif", HALVES)
    alpha = np.full((1, *HALVES.shape), 255, np.uint8)
    alpha[:, :10] = 0
    masked = np.concatenate([coloured(RED, GREEN), alpha])
    result = evaluate(labels, write("alpha.tif", masked, photometric="RGB", alpha="YES"))
    assert (result.class_names, result.beyond) == (("#00c800", "#c80000"), 400)
    result = evaluate(labels, write("nodata.tif", coloured((0, 0, 0), GREEN), nodata=0))
    assert (result.class_names, result.beyond) == (("#00c800",), 600)


def test_colours_are_called_as_the_attribute_table_says(write, tmp_path):
    cells = [("1", "road", *RED), ("2", "tree", *GREEN)]
    rows = "".join(
        f"<Row index='{at}'>{''.join(f'<F>{cell}</F>' for cell in row)}</Row>"
        for at, row in enumerate(cells)
    )
    fields = "".join(
        f"<FieldDefn index='{at}'><Name>n{at}</Name><Usage>{usage}</Usage></FieldDefn>"
        for at, usage in enumerate((5, 2, 6, 7, 8))
    )
    table = (
        "<PAMDataset><PAMRasterBand band='1'><GDALRasterAttributeTable>"
        f"{fields}{rows}</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"
    )
    labels = write("labels.tif", HALVES)
    colours = write("colours.tif", coloured(RED, BLUE))
    numbers = write("numbers.tif", HALVES)
    for name in ("colours", "numbers"):
        (tmp_path / f"{name}.tif.aux.xml").write_text(table)
    assert evaluate(labels, colours).class_names == ("#0000c8", "road")
    assert evaluate(labels, numbers).class_names == ("road", "tree")


def test_classes_are_called_as_the_table_of_esri_says(write, tmp_path):
    truth = write("truth.tif", HALVES)
    table = pd.DataFrame({"Value": [1, 2], "Count": [600, 600], "Class_Name": ["road", ""]})
    pyogrio.write_dataframe(table, tmp_path / "truth.tif.vat.dbf", driver="ESRI Shapefile")
    assert evaluate(write("labels.tif", HALVES), truth).class_names == ("road", "2")


def test_paletted_raster_has_its_numbers_as_classes(write, tmp_path):
    truth = write("truth.tif", HALVES)
    with rasterio.open(truth, "r+") as file:
        file.write_colormap(1, {1: (*RED, 255), 2: (*GREEN, 255)})
    assert evaluate(write("labels.tif", HALVES), truth).class_names == ("1", "2")


def test_photograph_is_refused(write):
    photograph = np.random.default_rng(0).integers(0, 255, (3, *HALVES.shape), np.uint8)
    truth = write("truth.tif", photograph)
    with pytest.raises(ReferenceDataError, match=r"truth\.tif has more than 256 colours"):
        evaluate(write("labels.tif", HALVES), truth)


def test_three_bands_of_measurements_are_refused(write):
    truth = write("truth.tif", coloured(RED, GREEN).astype(np.float32))
    with pytest.raises(ReferenceDataError, match="has 3 bands of float32; class numbers must"):
        evaluate(write("labels.tif", HALVES), truth)
