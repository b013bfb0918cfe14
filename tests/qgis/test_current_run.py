"""What forms suggest: the run that the current layer shows, or the only one there is."""

import shutil

import pytest
from qgis.core import QgsProcessingContext, QgsRasterLayer, QgsVectorLayer


class Interface:
    """Stands for QGIS's window: it has a current layer."""

    def __init__(self):
        self.layer = None

    def activeLayer(self):
        return self.layer


@pytest.fixture
def interface(monkeypatch):
    """Return the window that the plugin sees."""
    import qgis.utils

    window = Interface()
    monkeypatch.setattr(qgis.utils, "iface", window)
    return window


def suggested(provider, name):
    """Return what the form of an algorithm starts with as its run or labels."""
    algorithm = provider.algorithm(name).create()
    return algorithm.parameterDefinition("INPUT").defaultValueForGui()


def open_all(project, folder):
    """Add a run's layers to the project."""
    layers = [
        QgsRasterLayer(str(folder / "labels.tif"), "Class map"),
        QgsVectorLayer(f"{folder / 'labels.gpkg'}|layername=segments", "Segments"),
    ]
    project.addMapLayers(layers)
    return layers


@pytest.fixture
def two_runs(project, own_run, tmp_path):
    """Return two runs that the project shows, as (folder, raster, segments)."""
    other = shutil.copytree(own_run, tmp_path / "other")
    return [(folder, *open_all(project, folder)) for folder in (own_run, other)]


@pytest.mark.parametrize("name", ["reclassify", "name_classes"])
def test_forms_start_with_the_run_of_the_current_layer(provider, interface, two_runs, name):
    for folder, *layers in two_runs:
        for interface.layer in layers:
            assert suggested(provider, name) == str(folder)


def test_labels_to_evaluate_are_those_of_the_current_layers_run(provider, interface, two_runs):
    for _, raster, segments in two_runs:
        for interface.layer in (raster, segments):
            assert suggested(provider, "evaluate_labels") == raster.id()


def test_the_only_run_is_suggested_whatever_is_current(
    provider, interface, project, own_run, scene
):
    raster, _ = open_all(project, own_run)
    interface.layer = QgsRasterLayer(scene, "scene")
    project.addMapLayer(interface.layer)
    assert suggested(provider, "reclassify") == str(own_run)
    assert suggested(provider, "evaluate_labels") == raster.id()
    project.removeMapLayer(raster.id())
    assert suggested(provider, "evaluate_labels") == str(own_run / "labels.tif")


def test_of_several_runs_none_is_guessed(provider, interface, two_runs):
    assert suggested(provider, "reclassify") in (None, "")
    assert suggested(provider, "evaluate_labels") is None


def test_layers_without_a_run_suggest_nothing(provider, interface, project, own_run, scene):
    (own_run / "run.json").unlink()
    for interface.layer in [*open_all(project, own_run), QgsRasterLayer(scene, "scene"), None]:
        assert suggested(provider, "reclassify") in (None, "")


@pytest.mark.parametrize("name", ["reclassify", "name_classes"])
def test_a_script_must_still_say_which_run(provider, interface, two_runs, name):
    interface.layer = two_runs[0][1]
    holds, message = (
        provider.algorithm(name).create().checkParameterValues({}, QgsProcessingContext())
    )
    assert not holds
    assert "INPUT" in message
