# SPDX-License-Identifier: Apache-2.0
"""Proxies: a cluster's own, or the environment's as Go's http.ProxyFromEnvironment chooses it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from podfence.errors import AccessError
from podfence.kube.access.address import host_of, joined, port_of
from podfence.kube.access.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.access.address import Server

_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080}
_ENVIRONMENT_PORTS: Final = {**_PORTS, "socks5h": 1080}
_VARIABLES: Final = {"https": ("HTTPS_PROXY", "https_proxy"), "http": ("HTTP_PROXY", "http_proxy")}
_EXCEPTIONS: Final = ("NO_PROXY", "no_proxy")


class Proxy(NamedTuple):
    """What connections to the server go through; a password counts only with a name."""

    scheme: str
    host: str
    port: int
    username: str = ""
    password: Secret[str] = Secret("")

    @property
    def url(self) -> str:
        """The address without name and password."""
        return f"{self.scheme}://{joined(self.host, self.port)}"


def parse(text: str, ports: Mapping[str, int] = _PORTS) -> Proxy:
    """Return the proxy that a URL names; `ports` holds the schemes that are allowed.

    Raises ValueError with what is wrong, in words that do not repeat the text.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("this is no URL") from None
    if parts.scheme not in ports:
        raise ValueError("expected a URL that begins with http://, https:// or socks5://")
    return Proxy(
        parts.scheme,
        host_of(parts),
        port_of(parts, ports[parts.scheme]),
        unquote(parts.username or ""),
        Secret(unquote(parts.password or "")),
    )


def from_environment(server: Server, environ: Mapping[str, str]) -> Proxy | None:
    """Return the environment's proxy for `server`, None if it names none or makes an exception of the server.

    localhost and loopback addresses never have one. Raises AccessError for a variable that names no proxy.
    """
    variable = next((name for name in _VARIABLES[server.scheme] if environ.get(name)), None)
    exceptions = next((environ[name] for name in _EXCEPTIONS if environ.get(name)), "")
    if variable is None or not _wants_proxy(server, exceptions):
        return None
    text = environ[variable]
    try:
        return parse(text if "://" in text else f"http://{text}", _ENVIRONMENT_PORTS)
    except ValueError as error:
        raise AccessError(f"{variable}: {error}") from None


def _wants_proxy(server: Server, exceptions: str) -> bool:
    host = server.host.lower()
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return False
    return not any(_is_exception(item.strip().lower(), host, address, server.port) for item in exceptions.split(","))


def _is_exception(item: str, host: str, address: _Address | None, port: int) -> bool:
    """Return whether one item of NO_PROXY means a host: ``*``, a block, an address or a domain, with a port or not."""
    if not item:
        return False
    if item == "*":
        return True
    if "/" in item:
        try:
            return address is not None and address in ipaddress.ip_network(item, strict=False)
        except ValueError:
            pass
    name, wanted_port = _split_port(item)
    if not name or (wanted_port and wanted_port != str(port)):
        return False
    wanted = _address(name)
    if wanted is not None:
        return wanted == address
    if address is not None:
        return False
    name = name[1:] if name.startswith("*.") else name
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(item: str) -> tuple[str, str]:
    name, colon, port = item.rpartition(":")
    if colon and (":" not in name or (name.startswith("[") and name.endswith("]"))):
        return name.removeprefix("[").removesuffix("]"), port
    return item, ""


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
