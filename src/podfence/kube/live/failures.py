# SPDX-License-Identifier: Apache-2.0
"""What went wrong on the way to a server, in words that say what to do."""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING, Final

import aiohttp

from podfence.errors import reason_of
from podfence.kube.live.errors import ApiError, ApiTimeoutError, UnreachableError

if TYPE_CHECKING:
    from podfence.kube.access.access import Access

# OpenSSL's X509_V_ERR_* numbers.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_AUTHORITY: Final = frozenset((18, 19, 20, 21))
_OF_OPENSSL: Final = re.compile(r"\[SSL: (\w+)\]")
_OTHER_NAME: Final = frozenset((62, 64))


class Translator:
    """Turns errors of the network, of TLS and of HTTP on the way to one server into ApiErrors."""

    def __init__(self, access: Access, timeout: float | None) -> None:
        self._access = access
        self._timeout = timeout

    def of(self, error: Exception) -> ApiError:
        """Return the ApiError for an error that a request raised."""
        return self._timed_out(error) or UnreachableError(f"{self._where(error)}: {self._why(error)}")

    def _timed_out(self, error: Exception) -> ApiTimeoutError | None:
        if not isinstance(error, TimeoutError):
            return None
        name = self._access.server.url
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return ApiTimeoutError(
                f"{self._through(name)}: no connection in time (is the server up, the way to it open?)"
            )
        if isinstance(error, aiohttp.SocketTimeoutError):
            return ApiTimeoutError(f"{name}: the server has been silent for too long")
        within = f" within {self._timeout:g} s" if self._timeout is not None else " in time"
        return ApiTimeoutError(f"{name}: no answer{within}")

    def _through(self, name: str) -> str:
        proxy = self._access.proxy
        return f"{name} (through the proxy {proxy.url})" if proxy is not None else name

    def _where(self, error: Exception) -> str:
        """Return what could not be reached: the server, or the proxy on the way to it."""
        proxy = self._access.proxy
        if proxy is not None and (
            isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError)
            or (
                isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError)
                and (error.host, error.port) == (proxy.host, proxy.port)
            )
        ):
            return f"the proxy {proxy.url} on the way to {self._access.server.url}"
        return self._access.server.url

    def _why(self, error: Exception) -> str:
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return self._certificate(error.certificate_error)
        if isinstance(error, aiohttp.ClientHttpProxyError):
            remedy = ", which wants a name and password in the proxy's URL" if error.status == 407 else ""
            return f"it answered {error.status} {error.message}{remedy}"
        cause: BaseException = error
        if isinstance(error, aiohttp.ClientConnectorError):
            cause = error.os_error
        elif isinstance(error.__cause__, OSError):
            cause = error.__cause__
        if (alert := _reason(cause)) is not None:
            return _tls(alert)
        if isinstance(cause, socket.gaierror) or isinstance(error, aiohttp.ClientConnectorDNSError):
            return "the name cannot be resolved (is it spelt right, and is DNS reachable?)"
        if isinstance(cause, ConnectionRefusedError):
            return "connection refused (is the server up, and this its address?)"
        if isinstance(cause, OSError):
            return reason_of(cause) or "the connection broke"
        if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
            return "the connection broke before the answer was complete"
        return str(error) or "the connection broke"

    def _certificate(self, error: Exception) -> str:
        access = self._access
        code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
        if code in _UNKNOWN_AUTHORITY:
            whose = f"context {access.context} in {access.source}" if access.context else access.source
            return (
                "its certificate is signed by an authority that is not known here "
                f"(set certificate-authority of the cluster; this is {whose})"
            )
        if code in _OTHER_NAME:
            name = access.server_name or access.server.host
            return f"its certificate is not for {name} (use a name it has, or set tls-server-name of the cluster)"
        if code == _EXPIRED:
            return "its certificate has expired (renew it, and check the clock)"
        if code == _NOT_YET_VALID:
            return "its certificate is not valid yet (check the clock)"
        return f"its certificate is not accepted: {getattr(error, 'verify_message', '') or error}"


def _reason(error: BaseException) -> str | None:
    """Return OpenSSL's name for what went wrong, None for errors that are not its own."""
    if isinstance(error, ssl.SSLError):
        return error.reason or ""
    # aiohttp keeps only the text of an error that comes after the handshake.
    named = _OF_OPENSSL.match(str(error.args[-1])) if error.args else None
    return named[1] if named is not None else None


def _tls(reason: str) -> str:
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return "the server refuses the client's certificate (is it of this cluster, and has it expired?)"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "this is no TLS server (does the address begin with http://?)"
    return f"TLS failed: {reason.lower().replace('_', ' ')}"
