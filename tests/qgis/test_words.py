"""What the engine says, in words of QGIS; and paths, as QGIS and the engine must agree on them."""

import ast
import json
import re
from pathlib import Path

import pytest
from qgis.core import (
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProcessingException,
    QgsProcessingModelAlgorithm,
    QgsProcessingModelChildAlgorithm,
    QgsProcessingModelChildParameterSource,
    QgsProcessingModelParameter,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsRectangle,
    QgsVectorLayer,
)

from .support import Feedback

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "qgis"
FLAG_OPTIONAL = QgsProcessingParameterDefinition.Flag.FlagOptional
ALL = (
    "apply_classes",
    "download_model",
    "evaluate_labels",
    "label_scene",
    "name_classes",
    "reclassify",
)


def names_of(path):
    """Return the names in backquotes in the texts of a module, its docstrings left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return {
        found
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
        for found in re.findall(r"`[a-z]\w*(?:=[^`]*|\([^`]*\))?`", node.value)
    }


NAMED = sorted({name for path in (ROOT / "alps_geo").rglob("*.py") for name in names_of(path)})


def make_layer(crs, rectangle=(0, 0, 1, 1), name="My fields"):
    layer = QgsVectorLayer(f"Polygon?crs={crs}" if crs else "Polygon", name, "memory")
    if not crs:
        layer.setCrs(QgsCoordinateReferenceSystem())
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(*rectangle)))
    layer.dataProvider().addFeature(feature)
    return layer


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("use `n_classes=4` or less", "use “Number of classes”: 4 or less"),
        ("fewer `workers` or a smaller `tile_size`", "fewer “Processes” or a smaller “Tile size”"),
        ("use `classify()`", "use “Re-classify”"),
        ("run `download(sam-vit-b)`", "run “Download model” (sam-vit-b)"),
        ("`names` is given twice", "“Classes” is given twice"),
        ("the area, /tmp/x/aoi.gpkg, is far", "the area, “Fields”, is far"),
    ],
)
def test_names_become_titles_and_algorithms(provider, text, words):
    from qgis_plugin.words import in_qgis

    assert in_qgis(text, {"/tmp/x/aoi.gpkg": "“Fields”", "/tmp/x": "x"}) == words


@pytest.mark.parametrize("named", NAMED)
def test_no_name_of_the_engine_reaches_the_analyst_as_it_is(provider, named):
    from qgis_plugin.words import ALGORITHMS, TITLES, in_qgis

    titles = {
        item.description() for a in provider.algorithms() for item in a.parameterDefinitions()
    }
    assert len(NAMED) > 15
    words = in_qgis(f"use {named}")
    assert "`" not in words
    assert "--" not in words
    found = re.search("“(.*)”", words)[1]
    assert found in {*ALGORITHMS.values(), *TITLES.values()} or any(
        title.startswith(found) for title in titles
    )


def test_every_algorithm_that_words_name_is_there(provider):
    from qgis_plugin.words import ALGORITHMS

    assert set(ALGORITHMS.values()) <= {item.displayName() for item in provider.algorithms()}


def test_a_failed_run_speaks_of_titles_and_layers_once(false_engine, run, scene, tmp_path):
    false_engine(
        """
        area = arguments[arguments.index("--aoi") + 1]
        say("message", text="choose others with `bands`", code="x", values={})
        say("warning", text=f"{area} is odd: see `skip_unreadable`", code="y", values={})
        say("error", message=f"the area of interest, {area}, is far: use `label()` or `aoi`",
            exit_code=1, code="aoi.outside", values={"path": area})
        sys.exit(1)
        """
    )
    feedback = Feedback()
    parameters = {"INPUT": scene, "AOI": make_layer("EPSG:4326"), "OUTPUT": str(tmp_path / "out")}
    with pytest.raises(QgsProcessingException) as caught:
        run("label_scene", parameters, feedback)
    assert str(caught.value) == (
        "the area of interest, “My fields”, is far: use “Label scene” or “Area of interest”"
    )
    assert feedback.infos == ["choose others with “Bands”"]
    assert feedback.warnings == [
        "“My fields” is odd: see “Leave tiles that cannot be read unlabelled”"
    ]
    assert feedback.commands == feedback.console == []


def failing(tmp_path, scene):
    """Return runs that the engine refuses, as (algorithm, parameters)."""
    far, here = make_layer("EPSG:32640", (0, 0, 9, 9)), str(tmp_path / "out")
    label = {"INPUT": scene, "MODEL": "builtin", "OUTPUT": here}
    return [
        ("label_scene", {**label, "AOI": far}),
        ("label_scene", {**label, "EXTENT": "0,1,0,1 [EPSG:4326]"}),
        ("label_scene", {**label, "MODEL": "sam-vit-h"}),
        ("label_scene", {**label, "GSD": 10000.0}),
        ("label_scene", {**label, "BANDS": [1, 2, 9]}),
        ("evaluate_labels", {"INPUT": scene, "REFERENCE": far, "FIELD": "fid"}),
    ]


@pytest.mark.parametrize("which", range(6))
def test_no_refusal_of_the_engine_has_words_of_the_command_line(
    engine, run, scene, tmp_path, monkeypatch, which
):
    monkeypatch.setenv("ALPS_GEO_MODELS", str(tmp_path))
    name, parameters = failing(tmp_path, scene)[which]
    feedback = Feedback()
    with pytest.raises(QgsProcessingException) as caught:
        run(name, parameters, feedback)
    shown = "\n".join([str(caught.value), *feedback.infos, *feedback.warnings, *feedback.console])
    assert "--" not in shown
    assert "`" not in shown
    assert "alps-geo " not in shown
    assert "aoi.gpkg" not in shown
    assert "reference.gpkg" not in shown


def test_the_command_is_in_the_log_of_messages(false_engine, run, scene, tmp_path):
    false_engine("say('error', message='no', exit_code=1); sys.exit(1)")
    seen = []
    log = QgsApplication.messageLog()
    log.messageReceived.connect(lambda text, tag, level: seen.append((tag, text)))
    with pytest.raises(QgsProcessingException):
        run("label_scene", {"INPUT": scene, "OUTPUT": str(tmp_path / "out")})
    assert any(tag == "ALPS" and "-m alps_geo.cli label" in text for tag, text in seen)


@pytest.mark.parametrize("name", ["label_scene", "apply_classes", "reclassify", "name_classes"])
def test_relative_paths_start_from_the_folder_of_qgis_in_every_parameter(
    false_engine, run, scene, finished_run, tmp_path, monkeypatch, name
):
    seen = tmp_path / "seen.json"
    false_engine(
        f"""
        with open({str(seen)!r}, "w") as file:
            json.dump(arguments, file)
        say("error", message="no", exit_code=1); sys.exit(1)
        """
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(finished_run["OUTPUT"])
    (tmp_path / "scene.tif").symlink_to(scene)
    (tmp_path / "weights.pth").write_bytes(b"")
    given = {
        "INPUT": "scene.tif" if name in ("label_scene", "apply_classes") else "run",
        "CLASSES": [3, "road", ""] if name == "name_classes" else "run",
        "CHECKPOINT": "weights.pth",
        "OUTPUT": "out",
    }
    algorithm = provider_algorithm(name)
    known = {item.name() for item in algorithm.parameterDefinitions()}
    with pytest.raises(QgsProcessingException):
        run(name, {key: value for key, value in given.items() if key in known})
    arguments = json.loads(seen.read_text())
    relative = {"run", "scene.tif", "weights.pth", "out"}
    assert not relative & set(arguments)
    absolute = [text for text in arguments if text.startswith(str(tmp_path))]
    assert len(absolute) == len(known & set(given)) - (name == "name_classes")


def provider_algorithm(name):
    return QgsApplication.processingRegistry().algorithmById(f"alps_geo:{name}")


@pytest.mark.parametrize("name", ALL)
def test_what_must_be_given_comes_first(provider, name):
    inputs = [
        bool(item.flags() & FLAG_OPTIONAL)
        for item in provider_algorithm(name).parameterDefinitions()
        if not item.isDestination()
    ]
    assert inputs == sorted(inputs)


@pytest.mark.parametrize("name", ALL)
def test_a_parameter_with_a_default_need_not_be_given(provider, name):
    assert [
        item.name()
        for item in provider_algorithm(name).parameterDefinitions()
        if item.defaultValue() is not None
        and not item.isDestination()
        and not item.flags() & FLAG_OPTIONAL
    ] == []


@pytest.mark.parametrize(
    "added",
    [
        QgsProcessingParameterNumber("NEW", "New", defaultValue=3),
        QgsProcessingParameterBoolean("NEW", "New", True),
        QgsProcessingParameterEnum("NEW", "New", ["a", "b"], False, "a", usesStaticStrings=True),
    ],
    ids=["number", "boolean", "choice"],
)
def test_a_model_stays_valid_when_a_release_adds_a_parameter(provider, monkeypatch, added):
    from qgis_plugin.algorithms.label_scene import LabelScene

    declare = LabelScene.initAlgorithm

    def declare_more(self, config=None):
        declare(self, config)
        self.addParameter(added.clone())

    monkeypatch.setattr(LabelScene, "initAlgorithm", declare_more)
    provider.refreshAlgorithms()
    try:
        assert make_model().validate() == (True, [])
    finally:
        monkeypatch.undo()
        provider.refreshAlgorithms()


def make_model():
    """Return a model that gives `Label scene` a scene, and nothing else."""
    model = QgsProcessingModelAlgorithm("plain", "tests")
    scene = QgsProcessingModelParameter("scene")
    model.addModelParameter(QgsProcessingParameterRasterLayer("scene", "Scene"), scene)
    child = QgsProcessingModelChildAlgorithm("alps_geo:label_scene")
    child.setChildId("label")
    source = QgsProcessingModelChildParameterSource.fromModelParameter("scene")
    child.addParameterSources("INPUT", [source])
    model.addChildAlgorithm(child)
    return model


def test_the_shipped_model_is_valid(provider):
    model = QgsProcessingModelAlgorithm()
    assert model.fromFile(str(EXAMPLES / "label_and_dissolve.model3"))
    assert model.validate() == (True, [])


def test_a_model_that_gives_a_scene_only_runs(false_engine, provider, scene, tmp_path):
    from processing import run

    seen = tmp_path / "seen.json"
    false_engine(
        f"""
        with open({str(seen)!r}, "w") as file:
            json.dump(arguments, file)
        say("error", message="no", exit_code=1); sys.exit(1)
        """
    )
    with pytest.raises(QgsProcessingException):
        run(make_model(), {"scene": scene}, feedback=Feedback())
    # Nothing but what was given: what was left out has the engine's own defaults.
    arguments = json.loads(seen.read_text())
    options = arguments[arguments.index("label") :]
    assert [text for text in options if text.startswith("-")] == ["-o", "--progress"]


def test_a_class_model_may_be_the_folder_of_a_run(engine, run, finished_run, scene, tmp_path):
    results = run(
        "apply_classes",
        {
            "INPUT": scene,
            "CLASSES": finished_run["OUTPUT"],
            "MODEL": "builtin",
            "OUTPUT": str(tmp_path / "next"),
        },
    )
    assert Path(results["LABELS"]).is_file()


def test_an_area_without_a_crs_is_told_so(engine, run, scene, tmp_path):
    parameters = {"INPUT": scene, "AOI": make_layer(""), "OUTPUT": str(tmp_path / "out")}
    with pytest.raises(
        QgsProcessingException, match="“My fields”, has no CRS: assign it the right"
    ):
        run("label_scene", parameters)
