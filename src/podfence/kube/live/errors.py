# SPDX-License-Identifier: Apache-2.0
"""What an API server, or the way to it, has against a request.

ApiError
├── UnreachableError     no connection: names, routes, proxies, certificates; or one that broke
├── ApiTimeoutError      nobody answered in time
├── TooLongError         the answer is longer than what was asked for may be
└── RefusedError         the server answered with a Status
    ├── UnauthorizedError   401
    ├── ForbiddenError      403; says what to grant
    ├── NotFoundError       404
    ├── ConflictError       409
    ├── ExpiredError        410: a revision or a continue token is too old
    └── ThrottledError      429 and 503: later
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from podfence.errors import PodfenceError


class ApiError(PodfenceError):
    """A request to an API server failed."""


class UnreachableError(ApiError):
    """There is no connection to the server, or it broke."""


class ApiTimeoutError(ApiError):
    """The server did not answer in time."""


class TooLongError(ApiError):
    """The answer is longer than it may be; it was not read to its end."""


class RefusedError(ApiError):
    """The server answered that it will not, or cannot; `status` is the code of HTTP."""

    def __init__(self, message: str, status: int) -> None:
        self.status = status
        super().__init__(message)


class UnauthorizedError(RefusedError):
    """The server does not know who asks (401)."""


class ForbiddenError(RefusedError):
    """Who asks may not (403)."""


class NotFoundError(RefusedError):
    """There is no such object, or no such resource (404)."""


class ConflictError(RefusedError):
    """The object exists already, or has changed meanwhile (409)."""


class ExpiredError(RefusedError):
    """What was asked for is of a revision that the server has forgotten (410), or does not know yet."""


class ThrottledError(RefusedError):
    """The server wants to be asked later (429, 503); `retry_after` is in seconds, 0 if it did not say when."""

    def __init__(self, message: str, status: int, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(message, status)


class _Details(msgspec.Struct, rename="camel"):
    retry_after_seconds: int | None = None


class _Status(msgspec.Struct):
    message: str | None = None
    reason: str | None = None
    code: int | None = None
    details: _Details | None = None


_BY_STATUS: Final = {404: NotFoundError, 409: ConflictError, 410: ExpiredError}
_STATUS: Final = msgspec.json.Decoder(_Status)
_DENIED: Final = re.compile(
    r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)" in API group "(?P<group>[^"]*)"'
    r'(?: in the namespace "(?P<namespace>[^"]*)")?'
)
_NON_RESOURCE: Final = re.compile(r'cannot (?P<verb>\S+) path "(?P<path>[^"]+)"')
_AHEAD: Final = "Too large resource version"
_SHOWN: Final = 300


def refused(server: str, status: int, body: bytes, retry_after: str = "") -> RefusedError:
    """Return the error for an answer that is none of success; `retry_after` is the header of that name.

    `status` 0 takes the code of the Status in `body`, as in an event of a watch.
    """
    told = _told(body)
    status = status or told.code or 500
    what = told.message or _text(body) or told.reason or f"HTTP status {status}"
    message = f"{server}: {what}"
    if _AHEAD in what:
        # The server was set back to an older state, from a backup for example.
        return ExpiredError(message, status)
    match status:
        case 401:
            return UnauthorizedError(f"{message} (the credentials are not accepted; log in again)", status)
        case 403:
            return ForbiddenError(f"{message}{_grant(what)}", status)
        case 429 | 503:
            seconds = told.details.retry_after_seconds if told.details is not None else None
            wait = float(retry_after) if retry_after.isdecimal() and retry_after.isascii() else float(seconds or 0)
            return ThrottledError(f"{message} (the server is busy; try again)", status, wait)
    return _BY_STATUS.get(status, RefusedError)(message, status)


def _grant(what: str) -> str:
    """Return what to grant to who asks, "" if the server does not name it."""
    denied = _DENIED.search(what)
    if denied is not None:
        verb, resource, group, namespace = denied.group("verb", "resource", "group", "namespace")
        kind = "Role" if namespace else "ClusterRole"
        place = f" in namespace {namespace}" if namespace else ""
        rule = f'{{apiGroups: ["{group}"], resources: ["{resource}"], verbs: ["{verb}"]}}'
        return f" (grant it with a {kind} rule{place}: {rule})"
    path = _NON_RESOURCE.search(what)
    if path is not None:
        rule = f'{{nonResourceURLs: ["{path["path"]}"], verbs: ["{path["verb"]}"]}}'
        return f" (grant it with a ClusterRole rule: {rule})"
    return ""


def _told(body: bytes) -> _Status:
    try:
        return _STATUS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _Status()


def _text(body: bytes) -> str:
    """Return the beginning of an answer that is a text for people, as proxies and old servers send."""
    if body.lstrip()[:1] in (b"{", b"<", b""):
        return ""
    line = body.decode("utf-8", "replace").strip().splitlines()[0]
    return line[:_SHOWN] if line.isprintable() else ""
