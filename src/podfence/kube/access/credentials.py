# SPDX-License-Identifier: Apache-2.0
"""What requests are sent with now: tokens that rotate in files, and what plugins gave until it expires."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from podfence.errors import AccessError
from podfence.kube.access import plugin
from podfence.kube.access.access import Pair
from podfence.kube.access.config import reason
from podfence.kube.access.identity import fits_header
from podfence.kube.access.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from podfence.kube.access.access import Access, PairSource

T = TypeVar("T")

PERIOD: Final = 60.0
"""How long a file's content is believed, in seconds; a kubelet renews tokens minutes before they expire."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What a request is sent with: the Authorization header, and the certificate of its connection.

    A connection that was made with another pair than the one issued now has to be made again.
    """

    authorization: Secret[str] | None
    pair: Pair | None


class Credentials:
    """The credentials of one access; safe for threads, and a plugin runs only once for all that wait for it."""

    def __init__(
        self,
        access: Access,
        environ: Mapping[str, str],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take the ways of `access`; the clocks are for files and for plugins, whose credentials have a date."""
        self._access = access
        self._environ = environ
        self._now = now
        self._lock = threading.Lock()
        self._token = _Believed(self._read_token, monotonic)
        source = access.certificate
        self._pair = _Believed(lambda: _read_pair(source), monotonic) if source is not None else None
        self._given: plugin.Credential | None = None
        self._issued: Issued | None = None

    def current(self) -> Issued:
        """Return what to send a request with; the same value as long as nothing has changed.

        May read files and run a plugin, and so blocks: not for a loop of events. Raises AccessError if there
        is nothing, saying why; a file that cannot be read again leaves what it said before.
        """
        with self._lock:
            return self._issue()

    def rejected(self, issued: Issued) -> Issued:
        """Return what to send a request with after the server refused `issued` with 401; blocks as `current`.

        Files are read and plugins asked again, unless that has been done since.
        """
        with self._lock:
            if issued is self._issued:
                self._token.forget()
                if self._pair is not None:
                    self._pair.forget()
                self._given = None
            return self._issue()

    def _issue(self) -> Issued:
        issued = self._found()
        if issued != self._issued or self._issued is None:
            self._issued = issued
        return self._issued

    def _found(self) -> Issued:
        access = self._access
        if access.plugin is not None:
            if self._given is None or (self._given.expires is not None and self._now() > self._given.expires):
                self._given = plugin.ask(access.plugin, self._environ)
            return Issued(_bearer(self._given.token), self._given.pair)
        pair = self._pair.get() if self._pair is not None else None
        if access.token_file:
            return Issued(_bearer(self._token_or_fallback()), pair)
        return Issued(_bearer(access.token) or access.basic, pair)

    def _read_token(self) -> Secret[str]:
        path = self._access.token_file
        try:
            token = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            why = reason(error) if isinstance(error, OSError) else "it is no text"
            raise AccessError(f"the token in {path} cannot be read: {why}") from None
        if not token or not fits_header(token):
            what = "holds blanks or control characters" if token else "is empty"
            raise AccessError(f"the token in {path} {what}")
        return Secret(token)

    def _token_or_fallback(self) -> Secret[str]:
        try:
            return self._token.get()
        except AccessError:
            if self._access.token is None:
                raise
            return self._access.token


class _Believed(Generic[T]):
    """What files say, read again when it is old; what cannot be read again stays as it was."""

    def __init__(self, read: Callable[[], T], clock: Callable[[], float]) -> None:
        self._read = read
        self._clock = clock
        self._value: T | None = None
        self._until = -math.inf

    def get(self) -> T:
        now = self._clock()
        if self._value is None or now >= self._until:
            try:
                self._value = self._read()
            except AccessError:
                if self._value is None:
                    raise
            self._until = now + PERIOD
        return self._value

    def forget(self) -> None:
        self._until = -math.inf


def _read_pair(source: PairSource) -> Pair:
    return Pair(_data(source.certificate), Secret(_data(source.key)), source.place)


def _data(source: str | Secret[bytes]) -> bytes:
    if isinstance(source, Secret):
        return source.reveal()
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise AccessError(f"{source} cannot be read: {reason(error)}") from None


def _bearer(token: Secret[str] | None) -> Secret[str] | None:
    return Secret(f"Bearer {token.reveal()}") if token is not None else None
