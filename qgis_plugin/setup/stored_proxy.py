"""The proxy that QGIS keeps in its settings."""

from __future__ import annotations

from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtNetwork import QNetworkProxy, QNetworkProxyFactory, QNetworkProxyQuery

from .proxy import Proxy

_TYPES = {"HttpProxy": False, "HttpCachingProxy": False, "Socks5Proxy": True}
_SYSTEM = "DefaultProxy"
# Where most of what is fetched comes from.
_SAMPLE = "https://pypi.org/"


def stored_proxy(*, may_ask: bool = False) -> Proxy:
    """Return the proxy in QGIS's network settings; one without a host where there is none.

    Parameters
    ----------
    may_ask : bool
        Whether the user may be asked for the master password of the authentication database, where
        the login lies there and the database is locked. Without it the login is left out then.
    """
    settings = QgsSettings()
    if not settings.value("proxy/proxyEnabled", False, type=bool):
        return Proxy()

    def text(name: str) -> str:
        return str(settings.value(f"proxy/{name}", "", type=str) or "").strip()

    kind, excluded = text("proxyType"), tuple(_listed("proxyExcludedUrls", "noProxyUrls"))
    if kind == _SYSTEM:
        return _system_proxy(excluded)
    if kind not in _TYPES or not text("proxyHost"):
        return Proxy()
    port = int(text("proxyPort")) if text("proxyPort").isdigit() else 0
    user, password = text("proxyUser"), str(settings.value("proxy/proxyPassword", "") or "")
    if text("authcfg"):
        user, password = _login(text("authcfg"), may_ask=may_ask) or (user, password)
    return Proxy(text("proxyHost"), port, user, password, _TYPES[kind], excluded)


def _listed(*names: str) -> list[str]:
    """Return the entries of settings that are lists; one entry is kept as a plain text."""
    found: list[str] = []
    for name in names:
        value = QgsSettings().value(f"proxy/{name}", []) or []
        found += [value] if isinstance(value, str) else [str(item) for item in value]
    return [item for item in found if item.strip()]


def _system_proxy(excluded: tuple[str, ...]) -> Proxy:
    """Return what the system prescribes, by its settings or its configuration script."""
    found = QNetworkProxyFactory.systemProxyForQuery(QNetworkProxyQuery(QUrl(_SAMPLE)))
    for item in found:
        socks = item.type() == QNetworkProxy.ProxyType.Socks5Proxy
        if item.hostName() and (socks or item.type() == QNetworkProxy.ProxyType.HttpProxy):
            return Proxy(
                item.hostName(), item.port(), item.user(), item.password(), socks, excluded
            )
    return Proxy()


def _login(authcfg: str, *, may_ask: bool) -> tuple[str, str] | None:
    """Return user and password of an authentication configuration; None if it is locked."""
    manager = QgsApplication.authManager()
    if manager.isDisabled() or not (may_ask or manager.masterPasswordIsSet()):
        return None
    done, proxy = manager.updateNetworkProxy(QNetworkProxy(), authcfg)
    return (proxy.user(), proxy.password()) if done and proxy.user() else None
