# SPDX-License-Identifier: Apache-2.0
"""Addresses of servers, as client-go reads what a kubeconfig says (rest/url_utils.go)."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

PORTS: Final = {"http": 80, "https": 443}
"""The ports of the schemes that a server may have."""

_TOP_PORT: Final = 65535


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
        return f"{self.scheme}://{joined(self.host, self.port)}{self.prefix}"

    def __str__(self) -> str:
        return self.url


def joined(host: str, port: int) -> str:
    """Return ``host:port``, with an IPv6 address in brackets."""
    return f"{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def parse(text: str) -> Server:
    """Return the server that `text` names: a URL, or a host with or without a port, which means http.

    Raises ValueError with what is wrong, in words that do not repeat the text. A query or fragment is dropped.
    """
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError("this is no URL") from None
    if not parts.scheme or not parts.netloc:
        try:
            parts = urlsplit(f"http://{text}")
        except ValueError:
            raise ValueError("this is no URL") from None
        if parts.path not in ("", "/"):
            raise ValueError("expected a URL or HOST:PORT")
    if parts.scheme not in PORTS:
        raise ValueError(f"expected a URL that begins with https:// or http://, not with {parts.scheme}://")
    if "@" in parts.netloc:
        raise ValueError("a name and password in the URL are not used; set them for the user")
    return Server(parts.scheme, host_of(parts), port_of(parts, PORTS[parts.scheme]), parts.path.rstrip("/"))


def host_of(parts: SplitResult) -> str:
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


def port_of(parts: SplitResult, default: int) -> int:
    """Return the port of a URL; raises ValueError if it is none."""
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"the port is no number from 1 to {_TOP_PORT}") from None
    if port == 0:
        raise ValueError(f"the port is no number from 1 to {_TOP_PORT}")
    return default if port is None else port
