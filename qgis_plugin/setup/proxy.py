"""The proxy that QGIS uses, for pip."""

from __future__ import annotations

from urllib.parse import quote

from qgis.core import QgsSettings


def proxy_address() -> str:
    """Return the HTTP proxy in QGIS's network settings; empty where there is none."""
    settings = QgsSettings()
    if not settings.value("proxy/proxyEnabled", False, type=bool):
        return ""
    if settings.value("proxy/proxyType", "", type=str) != "HttpProxy":
        return ""
    host = settings.value("proxy/proxyHost", "", type=str)
    port = settings.value("proxy/proxyPort", "", type=str)
    user = settings.value("proxy/proxyUser", "", type=str)
    password = settings.value("proxy/proxyPassword", "", type=str)
    if not host:
        return ""
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
    return f"http://{login}{host}{f':{port}' if port else ''}"
