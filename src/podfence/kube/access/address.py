# SPDX-License-Identifier: Apache-2.0
"""Addresses of servers, as client-go reads what a kubeconfig says (rest/url_utils.go), and of proxies on the way there.

A proxy is the cluster's own, or the environment's as Go's http.ProxyFromEnvironment chooses it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from podfence.errors import AccessError
from podfence.kube.access.access import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

PORTS: Final = {"http": 80, "https": 443}
"""The ports of the schemes that a server may have."""

_TOP_PORT: Final = 65535
_PROXY_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080}
_ENVIRONMENT_PORTS: Final = {**_PROXY_PORTS, "socks5h": 1080}
_VARIABLES: Final = {"https": ("HTTPS_PROXY", "https_proxy"), "http": ("HTTP_PROXY", "http_proxy")}
_EXCEPTIONS: Final = ("NO_PROXY", "no_proxy")

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Server(NamedTuple):
    """Where a server listens; `prefix` is put before the paths of all requests, "" or beginning with ``/``."""

    scheme: str
    host: str
    port: int
    prefix: str = ""

    @property
    def is_secure(self) -> bool:
        """Whether the connection is a TLS connection; over others no credentials are sent."""
        return self.scheme == "https"

    @property
    def url(self) -> str:
        """The address without a slash at its end."""
        return f"{self.scheme}://{_joined(self.host, self.port)}{self.prefix}"

    def __str__(self) -> str:
        return self.url


def _joined(host: str, port: int) -> str:
    """Return ``host:port``, with an IPv6 address in brackets."""
    return f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def parse(text: str) -> Server:
    """Return the server that `text` names: a URL, or a host with or without a port, which means http.

    Raises ValueError with what is wrong, in words that do not repeat the text. A query or fragment is dropped.
    """
    parts = _split(text)
    if not parts.scheme or not parts.netloc:
        parts = _split(f"http://{text}")
        if parts.path not in ("", "/"):
            raise ValueError("expected a URL or HOST:PORT")
    if parts.scheme not in PORTS:
        raise ValueError(f"expected a URL that begins with https:// or http://, not with {parts.scheme}://")
    if "@" in parts.netloc:
        raise ValueError("a name and password in the URL are not used; set them for the user")
    return Server(parts.scheme, _host_of(parts), _port_of(parts, PORTS[parts.scheme]), parts.path.rstrip("/"))


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:
        raise ValueError("this is no URL") from None


def _host_of(parts: SplitResult) -> str:
    """Return the host of a URL, in ASCII; raises ValueError if there is none."""
    host = parts.hostname or ""
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise ValueError("this is no name of a host") from None
    if not host or any(character.isspace() for character in host):
        raise ValueError("the URL has no host")
    return host


def _port_of(parts: SplitResult, default: int) -> int:
    """Return the port of a URL; raises ValueError if it is none."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"the port is no number from 1 to {_TOP_PORT}")
    return default if port is None else port


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
        return f"{self.scheme}://{_joined(self.host, self.port)}"


def parse_proxy(text: str, ports: Mapping[str, int] = _PROXY_PORTS) -> Proxy:
    """Return the proxy that a URL names; `ports` holds the schemes that are allowed.

    Raises ValueError with what is wrong, in words that do not repeat the text.
    """
    parts = _split(text)
    if parts.scheme not in ports:
        raise ValueError("expected a URL that begins with http://, https:// or socks5://")
    return Proxy(
        parts.scheme,
        _host_of(parts),
        _port_of(parts, ports[parts.scheme]),
        unquote(parts.username or ""),
        Secret(unquote(parts.password or "")),
    )


def proxy_from_environment(server: Server, environ: Mapping[str, str]) -> Proxy | None:
    """Return the environment's proxy for `server`, None if it names none or makes an exception of the server.

    localhost and loopback addresses never have one. Raises AccessError for a variable that names no proxy.
    """
    variable = next((name for name in _VARIABLES[server.scheme] if environ.get(name)), None)
    exceptions = next((environ[name] for name in _EXCEPTIONS if environ.get(name)), "")
    if variable is None or not _wants_proxy(server, exceptions):
        return None
    text = environ[variable]
    try:
        return parse_proxy(text if "://" in text else f"http://{text}", _ENVIRONMENT_PORTS)
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


def _address(text: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
