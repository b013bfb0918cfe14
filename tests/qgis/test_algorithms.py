"""The other algorithms in real QGIS: re-classify, apply, name, evaluate, download."""

import json
import re
from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import (
    QgsCoordinateTransform,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from .support import Feedback

NAMES = (
    "apply_classes",
    "download_model",
    "evaluate_labels",
    "label_scene",
    "name_classes",
    "reclassify",
)


def read_classes(results):
    record = json.loads(Path(results["RECORD"]).read_text(encoding="utf-8"))
    return record["classes"]


def check(provider, name, parameters):
    algorithm = provider.algorithm(name).create()
    return algorithm.checkParameterValues(parameters, QgsProcessingContext())


def test_the_provider_has_all_algorithms(provider):
    assert provider.id() == "alps_geo"
    assert tuple(sorted(item.name() for item in provider.algorithms())) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithm_explains_itself(provider, name):
    algorithm = provider.algorithm(name)
    assert len(algorithm.shortHelpString()) > 100
    assert algorithm.displayName()
    assert not algorithm.icon().isNull()
    assert algorithm.create().name() == name
    names = [item.name() for item in algorithm.parameterDefinitions()]
    assert names == [text.upper() for text in names]
    assert all(item.description() for item in algorithm.parameterDefinitions())


@pytest.mark.parametrize("name", ["TILE_SIZE", "OVERLAP", "AREA_THRESHOLD", "SEED", "GSD", "MODEL"])
def test_parameters_have_the_help_and_the_defaults_of_the_settings(provider, name):
    from qgis_plugin.parameters import setting

    parameter = provider.algorithm("label_scene").parameterDefinition(name)
    assert parameter.help() == setting(name.lower()).help
    assert parameter.defaultValue() == setting(name.lower()).default


def test_a_number_of_classes_does_not_promise_a_word(provider):
    parameter = provider.algorithm("label_scene").parameterDefinition("N_CLASSES")
    assert parameter.help() == "Number of pseudo-classes."
    assert parameter.defaultValue() == 16


def test_label_scene_has_a_parameter_for_every_setting(provider):
    from qgis_plugin.parameters import all_names

    algorithm = provider.algorithm("label_scene")
    names = {item.name().lower() for item in algorithm.parameterDefinitions()}
    assert set(all_names()) - set(algorithm.LEFT_OUT) <= names


def test_reclassify_finds_another_number_of_classes(run, own_run):
    before = read_shapes(own_run)
    results = run("reclassify", {"INPUT": str(own_run), "N_CLASSES": 3})
    assert len(read_classes(results)) == 3
    assert results["OUTPUT"] == str(own_run)
    assert read_shapes(own_run) == before


def read_shapes(folder):
    layer = QgsVectorLayer(f"{folder / 'labels.gpkg'}|layername=segments", "segments")
    return {item["segment_id"]: item.geometry().asWkt(3) for item in layer.getFeatures()}


@pytest.mark.parametrize("memory", [False, True])
def test_reclassify_learns_classes_from_a_layer_of_examples(run, own_run, tmp_path, memory):
    segments = QgsVectorLayer(f"{own_run / 'labels.gpkg'}|layername=segments", "segments")
    names = ["roof", "road", "tree"]
    layer = QgsVectorLayer(
        "Point?crs=EPSG:4326&field=kind:string&field=note:string", "mine", "memory"
    )
    transform = QgsCoordinateTransform(segments.crs(), layer.crs(), QgsProject.instance())
    features = []
    for item in list(segments.getFeatures())[:9]:
        feature = QgsFeature(layer.fields())
        point = item.geometry().pointOnSurface()
        point.transform(transform)
        feature.setGeometry(point)
        feature.setAttributes([names[len(features) % 3], "x"])
        features.append(feature)
    layer.dataProvider().addFeatures(features)
    if not memory:
        path = str(tmp_path / "mine.geojson")
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.driverName = "GeoJSON"
        QgsVectorFileWriter.writeAsVectorFormatV3(
            layer, path, QgsProject.instance().transformContext(), options
        )
        layer = QgsVectorLayer(path, "mine")
    results = run(
        "reclassify", {"INPUT": str(own_run), "EXAMPLES": layer, "FIELD": "kind", "REJECT": 0.1}
    )
    assert {item["name"] for item in read_classes(results)} == {*names, "unknown"}


def test_reclassify_applies_a_class_model(run, own_run, finished_run, tmp_path):
    run("name_classes", {"INPUT": str(own_run), "CLASSES": [1, "water", "#123456"]})
    model = str(own_run / "classes.safetensors")
    import shutil

    other = shutil.copytree(finished_run["OUTPUT"], tmp_path / "other")
    results = run("reclassify", {"INPUT": str(other), "CLASSES": model})
    assert {"id": 1, "name": "water", "color": "#123456"}.items() <= read_classes(results)[
        1
    ].items()


@pytest.mark.parametrize("name", ["reclassify", "name_classes"])
def test_a_folder_without_a_run_is_refused(provider, name, tmp_path):
    holds, message = check(provider, name, {"INPUT": str(tmp_path)})
    assert not holds
    assert f"{tmp_path} holds no finished run" in message


def test_apply_classes_gives_another_scene_the_same_classes(engine, run, scene, own_run, tmp_path):
    run("name_classes", {"INPUT": str(own_run), "CLASSES": [0, "sand", "#abcdef", 2, "roof", ""]})
    other = tmp_path / "other.tif"
    whole = gdal.Open(str(Path(__file__).resolve().parents[2] / "examples" / "dubai.tif"))
    gdal.Translate(str(other), whole, srcWin=[0, 0, 200, 200])
    results = run(
        "apply_classes",
        {
            "INPUT": str(other),
            "CLASSES": str(own_run / "classes.safetensors"),
            "MODEL": "builtin",
            "OUTPUT": str(tmp_path / "out"),
        },
    )
    classes = read_classes(results)
    assert [item["name"] for item in classes][0::2] == ["sand", "roof", "class_04"]
    assert classes[0]["color"] == "#abcdef"


def test_apply_classes_wants_a_class_model(provider, scene):
    holds, message = check(
        provider, "apply_classes", {"INPUT": scene, "OUTPUT": "TEMPORARY_OUTPUT"}
    )
    assert not holds
    assert "CLASSES" in message


def test_name_classes_changes_styles_tables_and_ids_stay(run, own_run):
    feedback = Feedback()
    table = [3, 'Straße "1/2"', "#112233", 1, "", "#445566", "", "", ""]
    results = run(
        "name_classes", {"INPUT": str(own_run), "CLASSES": table, "MERGE": "0,2"}, feedback
    )
    classes = {item["id"]: item for item in read_classes(results)}
    assert classes[3]["name"] == 'Straße "1/2"'
    assert classes[1]["color"] == "#445566"
    assert 2 not in classes
    assert any("Straße" in line for line in feedback.infos)
    layer = QgsRasterLayer(results["LABELS"])
    assert {item.value: item.label for item in layer.renderer().classes()}[3] == 'Straße "1/2"'


def test_name_classes_without_a_table_lists_them(run, own_run):
    feedback = Feedback()
    run("name_classes", {"INPUT": str(own_run)}, feedback)
    assert sum(bool(re.match(r"\s+\d+  #", line)) for line in feedback.infos) == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"CLASSES": ["first", "water", ""]}, "told by its number, not by 'first'"),
        ({"CLASSES": ["", "water", ""]}, "told by its number"),
        ({"CLASSES": [1, "water", "blue"]}, "looks like #3a7d44, not 'blue'"),
        ({"MERGE": "4"}, "two or more class numbers"),
        ({"MERGE": "4-7"}, "not '4-7'"),
        ({"CLASSES": [17, "water", ""]}, "has no class 17; its classes are 0,1,2,3,4"),
        ({"CLASSES": [1, "", "#112233", 1, "water", ""]}, "Class 1 has two rows"),
        ({"CLASSES": [2, "water", ""], "MERGE": "1,2"}, "Class 2 is joined to another"),
        ({"MERGE": "0,5"}, "no class 5"),
        ({"MERGE": "3,3"}, "Class 3 stands twice in the group 3,3"),
        ({"MERGE": "1,2; 2,3"}, "Class 2 is joined to another"),
    ],
)
def test_tables_that_mean_nothing_are_refused(provider, own_run, values, message):
    holds, text = check(provider, "name_classes", {"INPUT": str(own_run), **values})
    assert not holds
    assert message in text


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("name_classes", {"CLASSES": [2, "water", ""], "MERGE": "1,2"}, "no class 2"),
        ("reclassify", {"N_CLASSES": 9_999}, "segments were found"),
    ],
)
def test_what_a_form_refuses_the_engine_refuses_too(
    engine, provider, own_run, name, values, message, monkeypatch
):
    from processing import run as run_algorithm

    parameters = {"INPUT": str(own_run), **values}
    assert not check(provider, name, parameters)[0]
    kind = type(provider.algorithm(name))
    monkeypatch.setattr(kind, "checkParameterValues", lambda *_: (True, ""))
    with pytest.raises(QgsProcessingException, match=message):
        run_algorithm(f"alps_geo:{name}", parameters, feedback=Feedback())


def test_more_classes_than_segments_are_refused(provider, own_run):
    record = json.loads((own_run / "run.json").read_text(encoding="utf-8"))
    found = record["scenes"][0]["segments"]["visible"]
    parameters = {"INPUT": str(own_run), "N_CLASSES": found + 1}
    assert check(provider, "reclassify", parameters) == (
        False,
        f"This run has {found} segments: choose that many classes or fewer",
    )
    assert check(provider, "reclassify", {**parameters, "N_CLASSES": found})[0]
    # The class model says how many classes there are.
    assert check(provider, "reclassify", {**parameters, "CLASSES": str(own_run)})[0]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"classes": 1, "scenes": []}'])
def test_a_damaged_record_is_the_engines_to_tell(provider, own_run, text):
    (own_run / "run.json").write_text(text, encoding="utf-8")
    assert check(provider, "reclassify", {"INPUT": str(own_run)})[0]
    assert check(provider, "name_classes", {"INPUT": str(own_run), "MERGE": "0,9"})[0]


def test_labels_agree_with_themselves(run, finished_run, tmp_path):
    report = tmp_path / "report.html"
    labels = finished_run["LABELS"]
    results = run("evaluate_labels", {"INPUT": labels, "REFERENCE": labels, "OUTPUT": str(report)})
    assert results["ACCURACY"] == results["MIOU"] == results["NMI"] == 1
    text = report.read_text(encoding="utf-8")
    assert "Mean IoU" in text
    assert "class_00" in text


def test_labels_are_compared_with_polygons_of_any_kind(run, finished_run):
    raster = QgsRasterLayer(finished_run["LABELS"])
    fields = "field=fid:string&field=cover:string"
    layer = QgsVectorLayer(f"Polygon?crs=EPSG:32640&{fields}", "reference", "memory")
    box = raster.extent()
    left, right, middle = box.xMinimum(), box.xMaximum(), box.center().x()
    for cover, start, stop in (("a", left, middle), ("b", middle, right)):
        feature = QgsFeature(layer.fields())
        half = QgsRectangle(start, box.yMinimum(), stop, box.yMaximum())
        feature.setGeometry(QgsGeometry.fromRect(half))
        feature.setAttributes([f"x{cover}", cover])
        layer.dataProvider().addFeature(feature)
    results = run(
        "evaluate_labels",
        {"INPUT": finished_run["LABELS"], "REFERENCE_POLYGONS": layer, "FIELD": "cover"},
    )
    assert 0.3 < results["ACCURACY"] < 1
    assert results["COVERAGE"] == pytest.approx(finished_run["LABELLED_SHARE"], abs=0.02)


def test_polygons_need_a_class_field(provider, finished_run):
    segments = finished_run["SEGMENTS"]
    parameters = {"INPUT": finished_run["LABELS"], "REFERENCE_POLYGONS": segments}
    holds, message = check(provider, "evaluate_labels", parameters)
    assert not holds
    assert "Choose the field" in message


def test_labels_need_one_reference(provider, finished_run):
    labels, segments = finished_run["LABELS"], finished_run["SEGMENTS"]
    both = {"REFERENCE": labels, "REFERENCE_POLYGONS": segments, "FIELD": "class_id"}
    for references in ({}, both):
        holds, message = check(provider, "evaluate_labels", {"INPUT": labels, **references})
        assert not holds
        assert "either a raster of classes or polygons" in message


def test_fields_are_of_vector_layers_only(provider):
    # QGIS ends at once where the parent of a field parameter holds a raster.
    for algorithm in provider.algorithms():
        for parameter in algorithm.parameterDefinitions():
            if parameter.type() == "field":
                parent = algorithm.parameterDefinition(parameter.parentLayerParameterName())
                assert parent.type() in ("vector", "source")


def test_a_web_map_is_no_reference(provider, finished_run):
    url = "type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png&zmax=1&zmin=0"
    tiles = QgsRasterLayer(url, "tiles", "wms")
    parameters = {"INPUT": finished_run["LABELS"], "REFERENCE": tiles}
    holds, message = check(provider, "evaluate_labels", parameters)
    assert not holds
    assert "tiles comes from a wms service" in message


def test_a_download_tells_how_far_it_is_and_where_the_file_lies(false_engine, run):
    false_engine(
        """
        say("stage", name="download sam-vit-b")
        say("progress", done=1, total=2, eta_s=3.0)
        say("result", models=[" ".join(arguments)])
        """
    )
    feedback = Feedback()
    results = run("download_model", {"MODEL": "sam-vit-b"}, feedback)
    assert results["WEIGHTS"].endswith("models download sam-vit-b --progress json")
    assert 50 in feedback.percents


def test_the_real_engine_refuses_an_address_that_does_not_answer(
    engine, run, monkeypatch, tmp_path
):
    monkeypatch.setenv("ALPS_GEO_MODELS", str(tmp_path))
    monkeypatch.setenv("ALPS_GEO_MODELS_URL", "http://127.0.0.1:9")
    with pytest.raises(QgsProcessingException, match=r"127\.0\.0\.1"):
        run("download_model", {"MODEL": "mobile-sam"})


def test_a_download_without_a_network_is_the_engines_message(false_engine, run):
    false_engine("say('error', message='no network: try again', exit_code=1); sys.exit(1)")
    with pytest.raises(QgsProcessingException, match=r"^no network: try again$"):
        run("download_model", {"MODEL": "mobile-sam"})
