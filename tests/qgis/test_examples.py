"""The examples for the modeler and for batches, run as they ship."""

import json
from pathlib import Path

import pytest
from qgis.core import (
    QgsProcessingException,
    QgsProcessingModelAlgorithm,
    QgsProject,
    QgsVectorLayer,
)
from qgis.PyQt.QtWidgets import QFileDialog, QMainWindow

from .support import Feedback

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "qgis"


def test_the_model_runs(engine, provider, scene, tmp_path):
    from processing import run

    model = QgsProcessingModelAlgorithm()
    assert model.fromFile(str(EXAMPLES / "label_and_dissolve.model3"))
    output = next(item.name() for item in model.destinationParameterDefinitions())
    target = tmp_path / "classes.gpkg"
    results = run(
        model, {"scene": scene, "number_of_classes": 6, "fewer_classes": 3, output: str(target)}
    )
    layer = QgsVectorLayer(results[output], "classes")
    assert layer.featureCount() == 3
    assert {item["class_id"] for item in layer.getFeatures()} == {0, 1, 2}


def test_a_model_stops_with_the_engines_message(false_engine, provider, scene, tmp_path):
    from processing import run

    false_engine("say('error', message='scene has no valid pixels', exit_code=1); sys.exit(1)")
    model = QgsProcessingModelAlgorithm()
    model.fromFile(str(EXAMPLES / "label_and_dissolve.model3"))
    output = next(item.name() for item in model.destinationParameterDefinitions())
    feedback = Feedback()
    parameters = {"scene": scene, output: str(tmp_path / "classes.gpkg")}
    # The exception names the step; the log has its message.
    with pytest.raises(QgsProcessingException, match="Label scene"):
        run(model, parameters, feedback=feedback)
    assert any("no valid pixels" in text for text in feedback.errors)


def test_the_batch_runs(engine, provider, tmp_path, monkeypatch):
    from processing.gui.BatchAlgorithmDialog import BatchAlgorithmDialog

    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    source = str(EXAMPLES / "two_settings.batch.json")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (source, ""))
    window = QMainWindow()
    dialog = BatchAlgorithmDialog(provider.algorithm("label_scene").create(), parent=window)
    panel = dialog.mainWidget()
    panel.load()
    assert panel.batchRowCount() == 2
    dialog.runAlgorithm()
    counts = []
    for name in ("coarse", "fine"):
        record = json.loads((tmp_path / "out" / name / "run.json").read_text(encoding="utf-8"))
        counts.append((len(record["classes"]), record["settings"]["tiles"]["size"]))
    assert counts == [(4, 1024), (12, 512)]
    dialog.close()
    dialog.deleteLater()
    QgsProject.instance().clear()
