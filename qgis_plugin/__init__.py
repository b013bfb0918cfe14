"""The QGIS plugin of alps-geo: Processing algorithms that run the engine as a separate process.

The plugin needs the standard library and QGIS only; the engine, `alps-geo` with its libraries,
lies in a Python environment of its own and is never imported here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .plugin import AlpsGeoPlugin


def classFactory(iface: object) -> AlpsGeoPlugin:
    """Return the plugin.

    Parameters
    ----------
    iface : QgisInterface or None
        None in `qgis_process`, where there is no menu.
    """
    from .plugin import AlpsGeoPlugin

    return AlpsGeoPlugin()
