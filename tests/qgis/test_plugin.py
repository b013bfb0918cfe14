"""The plugin as QGIS starts and stops it where there is no GUI."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
from qgis.core import QgsApplication
application = QgsApplication([], False)
application.initQgis()
import qgis_plugin
registry = QgsApplication.processingRegistry()
plugin = qgis_plugin.classFactory(None)
plugin.initProcessing()
print(registry.algorithmById("alps_geo:label_scene") is not None)
plugin.unload()
print(registry.providerById("alps_geo") is None)
application.exitQgis()
"""


def test_the_plugin_registers_and_takes_itself_away():
    # In a process of its own: the other tests need the provider they share.
    result = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60, cwd=ROOT
    )
    assert result.stdout.split() == ["True", "True"], result.stderr
    assert result.returncode == 0
