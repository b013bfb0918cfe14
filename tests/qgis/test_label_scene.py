"""Label scene in real QGIS, with the real engine and with engines that fail."""

import json
import re
import time
from pathlib import Path

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from .support import Feedback


def read_record(results):
    return json.loads(Path(results["RECORD"]).read_text(encoding="utf-8"))


def test_a_run_leaves_what_it_promises(finished_run):
    record = read_record(finished_run)
    assert QgsRasterLayer(finished_run["LABELS"]).isValid()
    segments = QgsVectorLayer(finished_run["SEGMENTS"], "segments")
    assert segments.featureCount() == record["scenes"][0]["segments"]["visible"]
    assert finished_run["PACKAGE"].endswith("labels.gpkg")
    assert Path(finished_run["CLASS_MODEL"]).is_file()
    assert Path(finished_run["REPORT_PAGE"]).name == "report.html"
    assert Path(finished_run["REPORT_PAGE"]).is_file()
    assert 0.3 < finished_run["LABELLED_SHARE"] <= 1


def test_ranges_of_pixel_values_become_settings_of_the_engine(engine, run, scene, tmp_path):
    results = run(
        "label_scene",
        {
            "INPUT": scene,
            "MODEL": "builtin",
            "N_CLASSES": 3,
            "STRETCH_RANGE": "-5.5,250",
            "REPORT": False,
            "NODATA": 0,
            "NODATA_TOLERANCE": 12.5,
            "OUTPUT": str(tmp_path / "out"),
        },
    )
    # Off, where the engine has it on.
    assert results["REPORT_PAGE"] == ""
    assert read_record(results)["settings"]["outputs"]["report"] is False
    settings = read_record(results)["settings"]["scene"]
    assert settings["stretch_range"] == [-5.5, 250]
    assert (settings["nodata"], settings["nodata_tolerance"]) == (0, 12.5)
    assert settings["stretch_percentiles"] is settings["subdataset"] is None


def test_parameters_become_settings_of_the_engine(engine, run, scene, tmp_path):
    results = run(
        "label_scene",
        {
            "INPUT": scene,
            "BANDS": [3, 2, 1],
            "MODEL": "builtin",
            "N_CLASSES": 4,
            "TILE_SIZE": 128,
            "OVERLAP": 32,
            "AREA_THRESHOLD": 0.5,
            "SEED": 7,
            "STRETCH": "minmax",
            "KEEP_MASKS": True,
            "OUTPUT": str(tmp_path / "out"),
        },
    )
    settings = read_record(results)["settings"]
    assert settings["scene"]["bands"] == [3, 2, 1]
    assert settings["scene"]["stretch"] == "minmax"
    assert settings["tiles"] == {"size": 128, "overlap": 32}
    assert settings["masks"]["area_threshold"] == 0.5
    assert (settings["classes"]["n_classes"], settings["classes"]["seed"]) == (4, 7)
    assert settings["outputs"]["keep_masks"] is True


def test_progress_is_told_by_stage_and_only_grows(engine, run, scene, tmp_path):
    feedback = Feedback()
    parameters = {"INPUT": scene, "N_CLASSES": 3, "OUTPUT": str(tmp_path / "out")}
    run(
        "label_scene", {**parameters, "MODEL": "builtin", "TILE_SIZE": 128, "OVERLAP": 32}, feedback
    )
    assert "Tiles …" in feedback.stages
    assert feedback.percents == sorted(feedback.percents)
    assert feedback.percents[-1] == 100
    assert_each_stage_has_a_share(feedback)
    assert re.search(r"[\d,]+ segments in 3 classes label \d", "\n".join(feedback.infos))
    assert feedback.commands == []


def assert_each_stage_has_a_share(feedback):
    starts = list(feedback.percent_at.values())
    assert len(starts) > 1
    assert all(one < other for one, other in zip(starts, [*starts[1:], 100], strict=True)), (
        feedback.percent_at
    )


@pytest.mark.parametrize(
    ("name", "changes"),
    [("reclassify", {"N_CLASSES": 3}), ("name_classes", {"CLASSES": [0, "Roof", ""]})],
)
def test_the_bar_is_full_only_at_the_end(engine, run, own_run, name, changes):
    feedback = Feedback()
    run(name, {"INPUT": str(own_run), **changes}, feedback)
    assert feedback.percents == sorted(feedback.percents)
    assert_each_stage_has_a_share(feedback)


def make_layer(crs, geometry):
    layer = QgsVectorLayer(f"Polygon?crs={crs}", "area", "memory")
    feature = QgsFeature()
    feature.setGeometry(geometry)
    layer.dataProvider().addFeature(feature)
    return layer


def left_half(scene, crs):
    """Return the left half of a scene as a polygon in another CRS."""
    from qgis.core import QgsCoordinateTransform

    raster = QgsRasterLayer(scene)
    box = raster.extent()
    half = QgsGeometry.fromRect(
        QgsRectangle(box.xMinimum(), box.yMinimum(), box.center().x(), box.yMaximum())
    )
    target = QgsCoordinateReferenceSystem(crs)
    half.transform(QgsCoordinateTransform(raster.crs(), target, QgsProject.instance()))
    return half


def labelled_half(results):
    """Return the shares of labelled pixels in the left and the right half."""
    from osgeo import gdal

    # GDAL frees a dataset that nobody holds, and its bands with it.
    dataset = gdal.Open(results["LABELS"])
    band = dataset.GetRasterBand(1)
    values = band.ReadAsArray()
    known = values != band.GetNoDataValue()
    middle = values.shape[1] // 2
    return known[:, : middle - 2].mean(), known[:, middle + 2 :].mean()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_an_area_of_interest_may_have_another_crs(engine, run, scene, tmp_path, crs):
    layer = make_layer(crs, left_half(scene, crs))
    parameters = {"INPUT": scene, "MODEL": "builtin", "N_CLASSES": 3, "AOI": layer}
    results = run("label_scene", {**parameters, "OUTPUT": str(tmp_path / "out")})
    part, whole = QgsRasterLayer(results["LABELS"]), QgsRasterLayer(scene)
    assert abs(part.width() - whole.width() / 2) <= 2
    assert part.extent().xMinimum() == pytest.approx(whole.extent().xMinimum(), abs=2)


def test_a_run_with_an_area_of_interest_goes_on_too(engine, run, scene, tmp_path):
    layer = make_layer("EPSG:4326", left_half(scene, "EPSG:4326"))
    parameters = {"INPUT": scene, "MODEL": "builtin", "N_CLASSES": 3, "AOI": layer}
    parameters["OUTPUT"] = str(tmp_path / "out")
    run("label_scene", parameters, Feedback("Stitch"))
    assert Path(run("label_scene", parameters)["LABELS"]).is_file()


def test_an_extent_is_an_area_of_interest(engine, run, scene, tmp_path):
    box = left_half(scene, "EPSG:32640").boundingBox()
    text = f"{box.xMinimum()},{box.xMaximum()},{box.yMinimum()},{box.yMaximum()} [EPSG:32640]"
    parameters = {"INPUT": scene, "MODEL": "builtin", "N_CLASSES": 3, "EXTENT": text}
    parameters["FULL_EXTENT"] = True
    left, right = labelled_half(run("label_scene", {**parameters, "OUTPUT": str(tmp_path / "out")}))
    assert left > 0.3
    assert right == 0


def test_an_empty_area_of_interest_is_refused(false_engine, run, scene, tmp_path):
    false_engine("say('result')")
    layer = QgsVectorLayer("Polygon?crs=EPSG:4326", "area", "memory")
    with pytest.raises(QgsProcessingException, match="has no polygons"):
        run("label_scene", {"INPUT": scene, "AOI": layer, "OUTPUT": str(tmp_path / "out")})


def test_a_cancelled_run_goes_on_with_the_same_folder(engine, run, scene, tmp_path):
    out = tmp_path / "out"
    parameters = {"INPUT": scene, "MODEL": "builtin", "N_CLASSES": 3, "OUTPUT": str(out)}
    parameters.update(TILE_SIZE=128, OVERLAP=32)
    feedback = Feedback("Stitch")
    assert run("label_scene", parameters, feedback) == {"OUTPUT": str(out)}
    assert time.monotonic() - feedback.cancelled_at < 3
    assert "Finished tiles are kept" in feedback.warnings[-1]
    assert not (out / "labels.tif").exists()
    results = run("label_scene", parameters)
    whole = run("label_scene", {**parameters, "OUTPUT": str(tmp_path / "whole")})
    assert Path(results["LABELS"]).read_bytes() == Path(whole["LABELS"]).read_bytes()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("say('error', message='scene has no valid pixels', exit_code=1); sys.exit(1)", "no valid"),
        ("os.abort()", "signal SIGABRT"),
        ("os.kill(os.getpid(), 9)", "memory ran out"),
        ("print('rubbish')", "without a result"),
        ("", "without a result"),
    ],
    ids=["refused", "crashed", "killed", "rubbish", "silent"],
)
def test_an_engine_that_fails_is_a_message(false_engine, run, scene, tmp_path, body, message):
    false_engine(body)
    with pytest.raises(QgsProcessingException, match=message) as caught:
        run("label_scene", {"INPUT": scene, "OUTPUT": str(tmp_path / "out")})
    assert len(str(caught.value).splitlines()) < 20


def test_an_engine_that_is_too_old_is_refused(false_engine, run, scene, tmp_path):
    from .conftest import GREETING

    false_engine("time.sleep(30)", GREETING.replace("99.0.0", "0.0.9"))
    with pytest.raises(QgsProcessingException, match=r"alps-geo 0\.0\.9, but this plugin needs"):
        run("label_scene", {"INPUT": scene, "OUTPUT": str(tmp_path / "out")})


def test_cancelling_a_deaf_engine_takes_three_seconds_at_most(false_engine, run, scene, tmp_path):
    false_engine(
        """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        say("stage", name="tiles")
        time.sleep(60)
        """
    )
    feedback = Feedback("Tiles")
    run("label_scene", {"INPUT": scene, "OUTPUT": str(tmp_path / "out")}, feedback)
    assert time.monotonic() - feedback.cancelled_at < 3


def test_without_an_engine_the_way_to_one_is_told(provider, monkeypatch, tmp_path):
    monkeypatch.delenv("ALPS_GEO_ENGINE", raising=False)
    monkeypatch.setenv("ALPS_GEO_ENVIRONMENTS", str(tmp_path))
    can, message = provider.algorithm("label_scene").canExecute()
    assert not can
    assert "Plugins ▸ ALPS ▸ Set up engine" in message


def test_an_engine_that_is_gone_is_named(provider, monkeypatch, tmp_path):
    monkeypatch.setenv("ALPS_GEO_ENGINE", str(tmp_path / "gone"))
    can, message = provider.algorithm("label_scene").canExecute()
    assert not can
    assert f"is not there: {tmp_path / 'gone'}" in message


def test_a_file_that_cannot_be_started_is_named(provider, monkeypatch, tmp_path):
    (tmp_path / "python").write_text("no program")
    monkeypatch.setenv("ALPS_GEO_ENGINE", str(tmp_path / "python"))
    assert "cannot be started" in provider.algorithm("label_scene").canExecute()[1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"TILE_SIZE": 128, "OVERLAP": 100}, r"at most half the tile size \(64\), not 100"),
        ({"OVERLAP": 33}, "must be even"),
        ({"BANDS": [1, 2]}, "three bands"),
        ({"CLASSES": "/no/model"}, "Class model is not there: /no/model|value for CLASSES"),
        ({"CHECKPOINT": "/no/file"}, "SAM checkpoint is not there|value for CHECKPOINT"),
        ({"TILE_SIZE": 63}, "TILE_SIZE"),
        ({"N_CLASSES": 1}, "N_CLASSES"),
        ({"MODEL": "best"}, "MODEL"),
        ({"AREA_THRESHOLD": 2}, "AREA_THRESHOLD"),
        ({"EXTENT": "0,1,0,1", "AOI": "x"}, "AOI|not both"),
    ],
)
def test_values_that_cannot_work_are_refused(provider, scene, values, message):
    algorithm = provider.algorithm("label_scene").create()
    parameters = {"INPUT": scene, "OUTPUT": "TEMPORARY_OUTPUT", **values}
    holds, text = algorithm.checkParameterValues(parameters, QgsProcessingContext())
    assert not holds
    assert re.search(message, text), text


def test_the_defaults_are_accepted(provider, scene):
    algorithm = provider.algorithm("label_scene").create()
    parameters = {"INPUT": scene, "OUTPUT": "TEMPORARY_OUTPUT"}
    assert algorithm.checkParameterValues(parameters, QgsProcessingContext()) == (True, "")


def test_a_web_map_is_refused_with_the_remedy(provider):
    from qgis_plugin import rasters

    url = "type=xyz&url=http://127.0.0.1:9/{z}/{x}/{y}.png&zmax=1&zmin=0"
    layer = QgsRasterLayer(url, "tiles", "wms")
    assert "export it first" in rasters.problem(layer)


def test_principal_components_may_make_the_picture(engine, provider, run, scene, tmp_path):
    parameters = {"INPUT": scene, "MODEL": "builtin", "N_CLASSES": 3, "COMPONENTS": True}
    parameters["OUTPUT"] = str(tmp_path / "out")
    record = read_record(run("label_scene", parameters))
    assert record["settings"]["scene"]["bands"] == "pca"
    assert len(record["stretch"]["components"]["mean"]) == 3
    algorithm = provider.algorithm("label_scene")
    context = QgsProcessingContext()
    holds, message = algorithm.checkParameterValues({**parameters, "BANDS": [1, 2, 3]}, context)
    assert not holds
    assert message == "Choose bands, or principal components of all bands, not both"


def test_layers_become_blocks_of_features_called_as_they_are(engine, run, scene, tmp_path):
    from osgeo import gdal

    path = str(tmp_path / "a+b.tif")
    gdal.Translate(path, scene, bandList=[1], width=64, height=50)
    layer = QgsRasterLayer(path, "My heights, 2024")
    parameters = {"INPUT": scene, "MODEL": "builtin", "N_CLASSES": 3, "FEATURE_RASTERS": [layer]}
    results = run("label_scene", {**parameters, "OUTPUT": str(tmp_path / "one")})
    record = read_record(results)
    assert record["features"][-1]["name"] == "raster:My_heights_2024"
    assert record["settings"]["model"]["features"] == f"auto+raster:My_heights_2024={path}"
    named = {**parameters, "FEATURES": "texture", "OUTPUT": str(tmp_path / "two")}
    names = [block["name"] for block in read_record(run("label_scene", named))["features"]]
    assert names == ["texture", "raster:My_heights_2024"]
