"""The plugin: registers the provider, adds the menu, and takes both away again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qgis.core import QgsApplication
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction
from qgis.utils import iface

from .provider import AlpsGeoProvider

if TYPE_CHECKING:
    from .setup.dialog import SetupDialog

MENU = "ALPS"


class AlpsGeoPlugin:
    """What QGIS starts and stops."""

    def __init__(self) -> None:
        self._provider: AlpsGeoProvider | None = None
        self._action: QAction | None = None
        self._dialog: SetupDialog | None = None

    def initProcessing(self) -> None:
        """Register the provider; also called by `qgis_process`."""
        self._provider = AlpsGeoProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self) -> None:
        """Register the provider and add the menu."""
        self.initProcessing()
        icon = QIcon(str(Path(__file__).with_name("icon.svg")))
        self._action = QAction(icon, "Set up engine…", iface.mainWindow())
        self._action.triggered.connect(self.set_up)
        iface.addPluginToMenu(MENU, self._action)

    def unload(self) -> None:
        """Take away everything that was added."""
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)
            self._provider = None
        if self._action is not None:
            iface.removePluginMenu(MENU, self._action)
            self._action = None
        if self._dialog is not None:
            self._dialog.end()
            self._dialog = None

    def set_up(self) -> None:
        """Show the dialog that sets up the engine; QGIS stays usable beside it."""
        from .setup.dialog import SetupDialog

        if self._dialog is None:
            self._dialog = SetupDialog(iface.mainWindow())
        self._dialog.bring_up()
