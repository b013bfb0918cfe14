"""The plugin as QGIS starts and stops it, outside and inside the GUI."""

from qgis.core import QgsApplication

import qgis_plugin


def test_the_plugin_registers_and_takes_itself_away(qgis_app):
    registry = QgsApplication.processingRegistry()
    there = registry.providerById("alps_geo")
    if there is not None:
        registry.removeProvider(there)
    plugin = qgis_plugin.classFactory(None)
    plugin.initProcessing()
    assert registry.algorithmById("alps_geo:label_scene") is not None
    plugin.unload()
    assert registry.providerById("alps_geo") is None
