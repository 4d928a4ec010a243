# SPDX-License-Identifier: Apache-2.0
"""Who may ask: whoever has the token of the lab, with a program and not with a web page."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from podfence.lab.store.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def require(headers: Mapping[str, str], token: str, port: int) -> None:
    """Raise RefusedError unless a request comes from a program that has the token.

    A web page that a browser shows could reach the server at a name that it makes lead to the loopback address. So
    requests for another host, and those that a page sent, are refused before anything else.
    """
    host = headers.get("Host", "")
    if host not in {f"{name}:{port}" for name in _LOOPBACK}:
        raise RefusedError(
            403, f"the host of the request must be 127.0.0.1:{port} or localhost:{port}", "Forbidden", {}
        )
    if "Origin" in headers:
        raise RefusedError(403, "requests of web pages are not answered", "Forbidden", {})
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise RefusedError(401, "Unauthorized", "Unauthorized")


def require_own_user(headers: Mapping[str, str]) -> None:
    """Raise RefusedError for a request that is to be made as another user."""
    if any(key.lower().startswith("impersonate-") for key in headers):
        raise RefusedError(403, "a lab has one user, who cannot act as another", "Forbidden", {})
