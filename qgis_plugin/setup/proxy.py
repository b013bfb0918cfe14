"""A proxy, and the variables by which programs learn of it; standard library only."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit


@dataclass(frozen=True)
class Proxy:
    """How to reach the network.

    Attributes
    ----------
    host : str
        Empty for no proxy, or where the variables of this process name one.
    port : int
        0 for the scheme's own.
    user, password : str
    socks : bool
        Whether it is a SOCKS proxy; an HTTP proxy otherwise.
    excluded : tuple of str
        Hosts, or beginnings of addresses, that are reached without it.
    """

    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    socks: bool = False
    excluded: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Its address with the login; empty for no proxy."""
        if not self.host:
            return ""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        return f"{'socks5h' if self.socks else 'http'}://{login}{self._place}"

    @property
    def name(self) -> str:
        """Its address without the login, for people."""
        return f"{'SOCKS' if self.socks else 'HTTP'} proxy {self._place}" if self.host else ""

    @property
    def _place(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port else host

    def hide(self, text: str) -> str:
        """Return a text without the password in it."""
        for secret in {self.password, quote(self.password, safe="")} - {""}:
            text = text.replace(f":{secret}@", ":***@")
        return text

    def added_to(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return environment variables with the proxy in them; others' give way to it.

        Parameters
        ----------
        variables : mapping of str to str

        Returns
        -------
        dict of str to str
        """
        if not self.host:
            return dict(variables)
        names = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
        kept = {name: text for name, text in variables.items() if name.lower() not in names}
        before = [
            text for name, text in variables.items() if name.lower() == "no_proxy" and text.strip()
        ]
        hosts = dict.fromkeys(host for item in self.excluded if (host := _host(item)))
        excluded = ",".join(dict.fromkeys([*before, *hosts]))
        new = {"http_proxy": self.address, "https_proxy": self.address, "no_proxy": excluded}
        for name, text in new.items():
            if text:
                # Some programs know one spelling, some the other; Windows knows no difference.
                kept[name.upper()] = text
                if sys.platform != "win32":
                    kept[name] = text
        return kept


def _host(address: str) -> str:
    """Return the host of an address or of the beginning of one."""
    text = address.strip()
    try:
        return urlsplit(text if "//" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""
