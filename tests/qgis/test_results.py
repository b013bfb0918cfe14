"""Layers as the project shows them, after runs as the GUI starts them."""

import time

import pytest
from qgis.core import (
    QgsLayerTreeGroup,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QTimer

from .support import run_as_the_gui_does, show_run


def tree(group):
    """Return the layer tree as nested pairs of name and whether it is on."""
    return [
        (
            child.name(),
            child.itemVisibilityChecked(),
            *([tree(child)] if isinstance(child, QgsLayerTreeGroup) else []),
        )
        for child in group.children()
    ]


def label(provider, project, scene, out, **more):
    parameters = {"INPUT": scene, "MODEL": "builtin", "N_CLASSES": 3, "OUTPUT": str(out), **more}
    return run_as_the_gui_does(provider, project, "label_scene", parameters)


def test_layers_are_grouped_named_and_single_classes_are_off(
    engine, provider, project, scene, tmp_path
):
    label(provider, project, scene, tmp_path / "out", KEEP_MASKS=True)
    names = [f"class_{number:02}" for number in range(3)]
    assert tree(project.layerTreeRoot()) == [
        (
            "dubai_piece",
            True,
            [
                ("Masks", False),
                ("Segments", True),
                ("Class map", True),
                ("Classes", False, [(name, False) for name in names]),
            ],
        )
    ]


def test_raster_and_segments_have_the_same_names_and_colours(engine, provider, project, own_run):
    show_run(provider, project, own_run)
    raster = project.mapLayersByName("Class map")[0].renderer()
    segments = project.mapLayersByName("Segments")[0].renderer()
    assert (raster.type(), segments.type()) == ("paletted", "categorizedSymbol")
    assert segments.classAttribute() == "class_id"
    from_raster = {item.value: (item.label, item.color.name()) for item in raster.classes()}
    from_segments = {
        int(item.value()): (item.label(), item.symbol().color().name())
        for item in segments.categories()
    }
    assert len(from_raster) == 5
    assert from_raster == from_segments
    single = project.mapLayersByName("class_01")[0].renderer()
    assert single.symbol().color().name() == from_raster[1][1]


def test_files_dragged_into_qgis_look_the_same(finished_run):
    # Layers own their renderers.
    layers = QgsRasterLayer(finished_run["LABELS"]), QgsVectorLayer(finished_run["SEGMENTS"], "s")
    raster, segments = (layer.renderer() for layer in layers)
    assert len(raster.classes()) == len(segments.categories()) == 5
    assert raster.classes()[4].color == segments.categories()[4].symbol().color()


def test_new_classes_replace_the_old_layers(engine, provider, project, own_run):
    parameters = {"INPUT": str(own_run), "N_CLASSES": 4}
    run_as_the_gui_does(provider, project, "reclassify", parameters)
    run_as_the_gui_does(provider, project, "reclassify", {**parameters, "N_CLASSES": 2})
    assert len(project.mapLayersByName("Segments")) == 1
    segments = project.mapLayersByName("Segments")[0]
    assert len(segments.renderer().categories()) == 2
    (group,) = tree(project.layerTreeRoot())
    assert [name for name, _ in group[2][2][2]] == ["class_00", "class_01"]


def test_names_of_classes_are_names_of_layers(engine, provider, project, own_run):
    table = [0, "Straße", "#336699"]
    run_as_the_gui_does(
        provider, project, "name_classes", {"INPUT": str(own_run), "CLASSES": table}
    )
    layer = project.mapLayersByName("Straße")[0]
    assert layer.renderer().symbol().color().name() == "#336699"


def test_nothing_is_loaded_where_that_is_not_wanted(engine, provider, project, own_run):
    parameters = {"INPUT": str(own_run), "N_CLASSES": 3, "LOAD": False}
    run_as_the_gui_does(provider, project, "reclassify", parameters)
    assert tree(project.layerTreeRoot()) == []


def test_a_failure_in_a_task_leaves_qgis_as_it_was(
    false_engine, provider, project, scene, tmp_path
):
    false_engine("os.abort()")
    with pytest.raises(AssertionError, match="signal SIGABRT"):
        label(provider, project, scene, tmp_path / "out")
    assert tree(project.layerTreeRoot()) == []


def test_a_thousand_lines_a_second_do_not_slow_the_gui(
    false_engine, provider, project, scene, tmp_path
):
    false_engine(
        """
        say("stage", name="tiles")
        start, done = time.monotonic(), 0
        while (passed := time.monotonic() - start) < 3:
            # By the clock, so that also a busy machine gets a thousand lines a second.
            while done < passed * 1000:
                done += 1
                say("progress", done=done, total=10_000, eta_s=1.0)
            time.sleep(0.005)
        say("error", message=f"{done} lines", exit_code=1)
        sys.exit(1)
        """
    )
    gaps, last = [], [time.monotonic()]

    def beat():
        gaps.append(time.monotonic() - last[0])
        last[0] = time.monotonic()

    timer = QTimer()
    timer.timeout.connect(beat)
    timer.start(10)
    used = time.thread_time()
    with pytest.raises(AssertionError, match=r"(2[5-9]\d\d|3000) lines"):
        label(provider, project, scene, tmp_path / "out")
    used = time.thread_time() - used
    timer.stop()
    median = sorted(gaps)[len(gaps) // 2]
    print(f"median gap {median:.3f} s, longest {max(gaps):.2f} s, CPU of the GUI {used:.2f} s")  # noqa: T201
    # Half of all beats come on time, none is missed for long, and the GUI has little to do.
    assert median < 0.05
    assert max(gaps) < 0.7
    assert used < 0.5
