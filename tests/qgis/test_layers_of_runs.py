"""Layers of a run's files while the run is written anew: values, handles, edits, whose they are."""

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import (
    QgsLayerTreeRegistryBridge,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsProcessingContext,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize

from .support import Feedback, run_as_the_gui_does, show_run

HANDLES = Path("/proc/self/fd")
on_linux = pytest.mark.skipif(not HANDLES.is_dir(), reason="needs /proc")
# What an engine sees of the process that started it; it says so in its refusal.
TELL_HANDLES = """
def handles(pid, folder):
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(entry.path)
        except OSError:
            continue
        if target.startswith(folder) and not os.path.isdir(target):
            yield target
found = sorted(handles(os.getppid(), FOLDER))
say("error", message=f"handles {found}", exit_code=1)
sys.exit(1)
"""


def handles(folder):
    """Return the files of a folder that this process has open, the deleted ones marked as such."""
    found = (str(entry.readlink()) for entry in HANDLES.iterdir() if entry.is_symlink())
    return sorted(name for name in found if name.startswith(str(folder)))


@pytest.fixture
def shown(engine, provider, project, own_run):
    """Return the folder of a run whose layers the plugin has loaded, read once as a canvas does."""
    show_run(provider, project, own_run)
    paint(project)
    return own_run


def add(project, source, name):
    kind = QgsRasterLayer if source.endswith(".tif") else QgsVectorLayer
    layer = kind(source, name)
    assert layer.isValid()
    project.addMapLayer(layer)
    return layer


def one(project, name):
    (layer,) = project.mapLayersByName(name)
    return layer


def values(layer):
    """Return what a layer's own provider reads now."""
    if isinstance(layer, QgsRasterLayer):
        block = layer.dataProvider().block(1, layer.extent(), layer.width(), layer.height())
        return bytes(block.data())
    ids = layer.fields().indexOf("segment_id"), layer.fields().indexOf("class_id")
    return {item[ids[0]]: item[ids[1]] for item in layer.getFeatures()}


def paint(project, names=("Class map",)):
    """Return the colours of a picture of some layers."""
    layers = [one(project, name) for name in names]
    settings = QgsMapSettings()
    settings.setLayers(layers)
    settings.setDestinationCrs(layers[0].crs())
    settings.setExtent(layers[0].extent())
    settings.setOutputSize(QSize(256, 200))
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    return job.renderedImage()


def assert_fresh(project, folder):
    """Check layers against the files, read by others."""
    dataset = gdal.Open(str(folder / "labels.tif"))
    expected = dataset.GetRasterBand(1).ReadAsArray().tobytes()
    del dataset
    assert values(one(project, "Class map")) == expected
    fresh = QgsVectorLayer(f"{folder / 'labels.gpkg'}|layername=segments", "fresh")
    assert values(one(project, "Segments")) == values(fresh)
    raster = QgsRasterLayer(str(folder / "labels.tif"), "fresh")
    project.addMapLayer(raster, False)
    same = paint(project) == paint(project, ("fresh",))
    project.removeMapLayer(raster)
    assert same
    assert not [name for name in handles(folder) if "deleted" in name]


CHANGES = {
    "reclassify": {"N_CLASSES": 4},
    "name_classes": {"CLASSES": [0, "Straße", "#336699"], "MERGE": "1,2,3"},
}


@on_linux
@pytest.mark.parametrize("name", CHANGES)
def test_layers_show_the_new_values_and_no_old_file_stays_open(provider, project, shown, name):
    ids, before = set(project.mapLayers()), values(one(project, "Class map"))
    run_as_the_gui_does(provider, project, name, {"INPUT": str(shown), **CHANGES[name]})
    assert values(one(project, "Class map")) != before
    assert_fresh(project, shown)
    # The layers are the same ones: layouts, relations and scripts know them by their ids.
    assert set(project.mapLayers()) < ids


@on_linux
def test_a_scene_labelled_again_shows_the_new_values(engine, provider, project, scene, tmp_path):
    parameters = {"INPUT": scene, "MODEL": "builtin", "OUTPUT": str(tmp_path / "out")}
    run_as_the_gui_does(provider, project, "label_scene", {**parameters, "N_CLASSES": 6})
    changed = {**parameters, "N_CLASSES": 3, "OVERWRITE": True}
    run_as_the_gui_does(provider, project, "label_scene", changed)
    assert_fresh(project, tmp_path / "out")
    assert len(one(project, "Segments").renderer().categories()) == 3


@on_linux
@pytest.mark.parametrize("name", ["reclassify", "name_classes", "label_scene", "apply_classes"])
def test_no_layer_has_a_file_open_while_the_engine_works(
    false_engine, provider, project, finished_run, own_run, scene, tmp_path, name
):
    package = own_run / "labels.gpkg"
    virtual = tmp_path / "virtual.vrt"
    gdal.BuildVRT(str(virtual), [str(own_run / "labels.tif")]).FlushCache()
    for source in (package, f"{package}|layername=segments|subset=class_id > 1"):
        add(project, f"{source}", "own")
    layers = [
        add(project, f"{package}|layername=classes", "table"),
        add(project, str(own_run / "labels.tif"), "raster"),
        QgsRasterLayer(str(virtual), "virtual"),
    ]
    project.addMapLayer(layers[-1])
    project.layerTreeRoot().findLayer(layers[1].id()).setItemVisibilityChecked(False)
    sources = {key: layer.source() for key, layer in project.mapLayers().items()}
    paint(project, ("raster", "virtual"))
    assert handles(own_run)
    false_engine(f"FOLDER = {str(own_run)!r}\n{TELL_HANDLES}")
    parameters = {"INPUT": str(own_run)}
    if name in ("label_scene", "apply_classes"):
        parameters = {"INPUT": scene, "OUTPUT": str(own_run)}
        parameters["CLASSES"] = finished_run["CLASS_MODEL"]
    with pytest.raises(AssertionError, match=re.escape("handles []")):
        run_as_the_gui_does(provider, project, name, parameters)
    # Also where the engine fails, all is as it was.
    assert {key: layer.source() for key, layer in project.mapLayers().items()} == sources
    assert all(layer.isValid() for layer in project.mapLayers().values())


def test_a_run_that_is_cancelled_gives_the_layers_back(false_engine, provider, project, own_run):
    layer = add(project, f"{own_run / 'labels.gpkg'}|layername=segments", "own")
    layer.setOpacity(0.4)
    before = values(layer)
    false_engine("say('stage', name='classes')\ntime.sleep(30)")
    parameters = {"INPUT": str(own_run)}
    run_as_the_gui_does(provider, project, "reclassify", parameters, cancel_at="Classes")
    assert values(layer) == before
    assert layer.opacity() == pytest.approx(0.4)


def test_a_run_that_is_cancelled_in_the_queue_gives_the_layers_back(project, own_run):
    from qgis_plugin import open_layers

    layer = add(project, str(own_run / "labels.tif"), "raster")
    release = open_layers.Release(project, own_run)
    assert not layer.isValid()
    release.put_back_unless_begun()
    assert layer.isValid()


def test_a_project_saved_meanwhile_keeps_sources_and_styles(project, own_run, tmp_path):
    from qgis_plugin import open_layers

    source = f"{own_run / 'labels.gpkg'}|layername=segments|subset=class_id > 1"
    add(project, source, "own")
    raster = add(project, str(own_run / "labels.tif"), "raster")
    raster.renderer().setOpacity(0.4)
    release = open_layers.Release(project, own_run)
    assert project.write(str(tmp_path / "project.qgs"))
    release.put_back()
    project.clear()
    assert project.read(str(tmp_path / "project.qgs"))
    assert one(project, "own").source() == source
    assert one(project, "own").renderer().type() == "categorizedSymbol"
    assert one(project, "raster").renderer().opacity() == pytest.approx(0.4)


def check(provider, project, name, parameters):
    context = QgsProcessingContext()
    context.setProject(project)
    return provider.algorithm(name).create().checkParameterValues(parameters, context)


@pytest.mark.parametrize("table", ["segments", "classes", "class_00"])
@pytest.mark.parametrize("name", ["reclassify", "name_classes", "label_scene", "apply_classes"])
def test_edits_that_are_not_saved_stop_what_would_lose_them(
    false_engine, provider, project, finished_run, own_run, scene, run, name, table
):
    false_engine("say('error', message='the engine was started', exit_code=1); sys.exit(1)")
    layer = add(project, f"{own_run / 'labels.gpkg'}|layername={table}", f"My {table}")
    assert layer.startEditing()
    feature = next(layer.getFeatures())
    assert layer.changeAttributeValue(feature.id(), len(layer.fields()) - 1, 1)
    parameters = {"INPUT": str(own_run)}
    if name in ("label_scene", "apply_classes"):
        parameters = {"INPUT": scene, "OUTPUT": str(own_run)}
        parameters["CLASSES"] = finished_run["CLASS_MODEL"]
    holds, message = check(provider, project, name, parameters)
    assert not holds
    assert f"My {table}: there are edits that are not saved" in message
    algorithm, context = provider.algorithm(name).create(), QgsProcessingContext()
    context.setProject(project)
    feedback = Feedback()
    # A model runs its steps without that check.
    assert not algorithm.prepare(parameters, context, feedback)
    assert "not saved" in "".join(feedback.errors)
    assert layer.isModified()
    layer.rollBack()


def test_an_edit_session_without_edits_cannot_save_into_the_old_file(provider, project, shown):
    layer = one(project, "Segments")
    layer.startEditing()
    run_as_the_gui_does(provider, project, "reclassify", {"INPUT": str(shown), "N_CLASSES": 4})
    assert not layer.isEditable()
    layer.startEditing()
    feature = next(layer.getFeatures())
    at = layer.fields().indexOf("class_id")
    assert layer.changeAttributeValue(feature.id(), at, 3)
    assert layer.commitChanges(), layer.commitErrors()
    fresh = QgsVectorLayer(f"{shown / 'labels.gpkg'}|layername=segments", "fresh")
    assert fresh.getFeature(feature.id())["class_id"] == 3


def test_two_algorithms_do_not_write_a_run_at_once(provider, project, shown):
    from qgis_plugin import open_layers

    release = open_layers.Release(project, shown)
    holds, message = check(provider, project, "reclassify", {"INPUT": str(shown)})
    release.put_back()
    assert not holds
    assert "Another algorithm is at work" in message
    assert check(provider, project, "reclassify", {"INPUT": str(shown)})[0]


@pytest.mark.parametrize(
    ("name", "reopened"), [("reclassify", False), ("name_classes", True)], ids=list(CHANGES)
)
def test_an_analysts_own_layers_stay_as_they_are(
    provider, project, shown, tmp_path, name, reopened
):
    group = project.layerTreeRoot().findGroup("dubai_piece")
    for title, source in (
        ("Only 1", "segments|subset=class_id = 1"),
        ("Twin", "segments"),
        ("The classes", "classes"),
    ):
        layer = QgsVectorLayer(f"{shown / 'labels.gpkg'}|layername={source}", title)
        project.addMapLayer(layer, False)
        group.addLayer(layer)
    # As Duplicate Layer does: with all properties of the original.
    for title in ("Segments", "Class map"):
        copy = one(project, title).clone()
        copy.setName(f"{title} copy")
        project.addMapLayer(copy, False)
        project.layerTreeRoot().addLayer(copy)
    kept = ("Only 1", "Twin", "The classes", "Segments copy", "Class map copy")
    ids = {title: one(project, title).id() for title in kept}
    if reopened:
        assert project.write(str(tmp_path / "project.qgs"))
        project.clear()
        assert project.read(str(tmp_path / "project.qgs"))
    run_as_the_gui_does(provider, project, name, {"INPUT": str(shown), **CHANGES[name]})
    assert {title: one(project, title).id() for title in kept} == ids
    parents = {
        title: project.layerTreeRoot().findLayer(ids[title]).parent().name() for title in kept
    }
    assert parents["Only 1"] == parents["Twin"] == parents["The classes"] == "dubai_piece"
    assert values(one(project, "Only 1")).keys() < values(one(project, "Twin")).keys()
    assert values(one(project, "Twin")) == values(one(project, "Segments"))
    assert values(one(project, "Class map copy")) == values(one(project, "Class map"))
    assert_fresh(project, shown)
    assert len(one(project, "Segments copy").renderer().categories()) == 5


def test_what_an_analyst_changed_about_our_layers_is_kept(provider, project, shown):
    segments, raster = one(project, "Segments"), one(project, "Class map")
    segments.setOpacity(0.5)
    raster.renderer().setOpacity(0.3)
    raster.setName("Land cover")
    other = project.layerTreeRoot().addGroup("Mine")
    node = project.layerTreeRoot().findLayer(raster.id())
    other.addChildNode(node.clone())
    node.parent().removeChildNode(node)
    run_as_the_gui_does(provider, project, "reclassify", {"INPUT": str(shown), "N_CLASSES": 4})
    assert one(project, "Land cover").renderer().opacity() == pytest.approx(0.3)
    assert len(raster.renderer().classes()) == 4
    assert one(project, "Segments").opacity() == pytest.approx(0.5)
    assert project.layerTreeRoot().findLayer(raster.id()).parent().name() == "Mine"


def put_new_layers_into(project, group):
    """Choose where QGIS puts layers, as it does itself when a layer of a group is current."""
    point = QgsLayerTreeRegistryBridge.InsertionPoint(group, 0)
    project.layerTreeRegistryBridge().setLayerInsertionPoint(point)


@pytest.mark.parametrize("into", ["top", "first run", "classes of the first run"])
def test_scenes_of_the_same_name_have_a_group_each(
    engine, provider, project, finished_run, tmp_path, into
):
    for name in ("first", "second"):
        folder = shutil.copytree(finished_run["OUTPUT"], tmp_path / name)
        show_run(provider, project, folder)
        first = project.layerTreeRoot().findGroup("dubai_piece")
        if into != "top":
            put_new_layers_into(project, first.findGroup("Classes") if "cl" in into else first)
    put_new_layers_into(project, project.layerTreeRoot())
    project.write(str(tmp_path / "project.qgs"))
    project.clear()
    project.read(str(tmp_path / "project.qgs"))
    root = project.layerTreeRoot()
    names = [group.name() for group in root.findGroups()]
    assert names == ["dubai_piece (second)", "dubai_piece"]
    second = {"INPUT": str(tmp_path / "second"), "N_CLASSES": 3}
    run_as_the_gui_does(provider, project, "reclassify", second)
    assert [group.name() for group in root.findGroups()] == names
    for group, count in zip(root.findGroups(), (3, 5), strict=True):
        assert len(group.findGroup("Classes").findLayers()) == count


def test_a_layer_moved_into_the_group_of_another_run_takes_no_group_along(
    engine, provider, project, finished_run, tmp_path
):
    for name in ("first", "second"):
        folder = shutil.copytree(finished_run["OUTPUT"], tmp_path / name)
        show_run(provider, project, folder)
    root = project.layerTreeRoot()
    second, first = root.findGroups()
    raster = next(node for node in second.findLayers() if node.name() == "Class map")
    first.insertChildNode(0, raster.clone())
    second.removeChildNode(raster)
    root.insertChildNode(-1, second.clone())
    root.removeChildNode(second)
    for name, count in (("second", 3), ("first", 4)):
        changes = {"INPUT": str(tmp_path / name), "N_CLASSES": count}
        run_as_the_gui_does(provider, project, "reclassify", changes)
    counts = {
        group.name(): len(group.findGroup("Classes").findLayers()) for group in root.findGroups()
    }
    assert counts == {"dubai_piece": 4, "dubai_piece (second)": 3}


@pytest.mark.parametrize("name", ["reclassify", "name_classes"])
def test_a_class_corrected_by_hand_is_kept(provider, project, shown, name):
    layer = one(project, "Segments")
    feature = next(item for item in layer.getFeatures() if item["class_id"] == 0)
    segment, at = feature["segment_id"], layer.fields().indexOf("class_id")
    of_class = {i["segment_id"]: i["area_px"] for i in layer.getFeatures() if i["class_id"] == 3}
    assert layer.startEditing()
    assert layer.changeAttributeValue(feature.id(), at, 3)
    assert layer.commitChanges(), layer.commitErrors()
    changes = {"reclassify": {"N_CLASSES": 4}, "name_classes": {"CLASSES": [0, "sand", ""]}}
    run_as_the_gui_does(provider, project, name, {"INPUT": str(shown), **changes[name]})
    now, areas = values(one(project, "Segments")), Counter()
    for other, area in of_class.items():
        areas[now[other]] += area
    # The class that stands for the old one: most of its pixels are of it now.
    assert now[segment] == areas.most_common(1)[0][0]
    assert_fresh(project, shown)
