"""The examples for the modeler and for batches, run as they ship."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from qgis.core import (
    QgsProcessingException,
    QgsProcessingModelAlgorithm,
    QgsVectorLayer,
)

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
    with pytest.raises(QgsProcessingException, match=r"Label scene|no valid pixels") as caught:
        run(model, parameters, feedback=feedback)
    # Old versions name the step in the exception, and have its message in the log.
    assert any("no valid pixels" in text for text in (str(caught.value), *feedback.errors))


def test_the_batch_runs(engine, scene, tmp_path):
    # A piece of the scene that it names, under the same name.
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "dubai.tif").symlink_to(scene)
    # In a process of its own: outside the GUI, the dialog for batches does not survive the end
    # of the application.
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("batch_script.py")), str(EXAMPLES)],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == {
        "rows": 2,
        "layers": ["Class map", "Class map", "Segments", "Segments"],
    }
    found = []
    for name in ("coarse", "fine"):
        record = json.loads((tmp_path / "out" / name / "run.json").read_text(encoding="utf-8"))
        found.append((len(record["classes"]), record["settings"]["tiles"]["size"]))
    assert found == [(4, 1024), (12, 512)]
