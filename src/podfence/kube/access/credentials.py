# SPDX-License-Identifier: Apache-2.0
"""What requests are sent with now: tokens that rotate in files, and what plugins gave until it expires.

A plugin is a program that gives credentials (client-go's plugin/pkg/client/auth/exec). What it writes on its standard
output is secret and never shown; its standard error is for people.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

import msgspec

from podfence.errors import AccessError, reason_of
from podfence.kube import yaml
from podfence.kube.access.access import Pair, Secret
from podfence.kube.access.identity import fits_header, plain
from podfence.kube.access.wire import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from podfence.kube.access.access import Access, PairSource, Plugin

T = TypeVar("T")

PERIOD: Final = 60.0
"""How long a file's content is believed, in seconds; a kubelet renews tokens minutes before they expire."""

TIMEOUT: Final = 300.0
"""How long a plugin may take, in seconds: people log in with a browser meanwhile."""

_INFO: Final = "KUBERNETES_EXEC_INFO"
_KIND: Final = "ExecCredential"
_SHOWN: Final = 2000


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
        self._given: Credential | None = None
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
                self._given = ask(access.plugin, self._environ)
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
            why = reason_of(error) if isinstance(error, OSError) else "it is no text"
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
        raise AccessError(f"{source} cannot be read: {reason_of(error)}") from None


def _bearer(token: Secret[str] | None) -> Secret[str] | None:
    return Secret(f"Bearer {token.reveal()}") if token is not None else None


class Credential(NamedTuple):
    """What a plugin gave; `expires` is in seconds since the epoch, None for never."""

    token: Secret[str] | None
    pair: Pair | None
    expires: float | None


class _Status(Quiet, rename="camel"):
    expiration_timestamp: str | None = None
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None


class _Answer(Quiet, rename="camel"):
    api_version: str | None = None
    kind: str | None = None
    status: _Status | None = None


def ask(plugin: Plugin, environ: Mapping[str, str], timeout: float = TIMEOUT) -> Credential:
    """Return what a plugin gives, running it once; `environ` is what it gets beside its own variables.

    Blocks while it runs. It gets the terminal's input if there is one and it wants it, and speaks to people
    directly where there are any. Raises AccessError with what it wrote on standard error if it fails, and
    with its install hint if it is not there.
    """
    is_interactive = plugin.interactive != "Never" and sys.stdin is not None and sys.stdin.isatty()
    is_watched = is_interactive or (sys.stderr is not None and sys.stderr.isatty())
    if plugin.interactive == "Always" and not is_interactive:
        raise AccessError(f"{_named(plugin)} wants to talk to somebody, and standard input is no terminal")
    program = shutil.which(plugin.command, path=environ.get("PATH"))
    if program is None:
        hint = f"\n{plugin.install_hint}" if plugin.install_hint else ""
        raise AccessError(f"{_named(plugin)} is not there, or cannot be executed{hint}")
    env = {**environ, **dict(plugin.env.reveal()), _INFO: _info(plugin, is_interactive=is_interactive)}
    try:
        done = subprocess.run(
            [program, *plugin.args.reveal()],
            env=env,
            stdin=sys.stdin if is_interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=None if is_watched else subprocess.PIPE,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise AccessError(f"{_named(plugin)} took longer than {timeout:g} s{_said(error.stderr)}") from None
    except (OSError, ValueError) as error:
        why = reason_of(error) if isinstance(error, OSError) else "its arguments or variables hold a null character"
        raise AccessError(f"{_named(plugin)} cannot be started: {why}") from None
    if done.returncode:
        code = done.returncode
        ended = f"failed with exit code {code}" if code > 0 else f"died of signal {-code}"
        raise AccessError(f"{_named(plugin)} {ended}{_said(done.stderr)}")
    try:
        return _credential(done.stdout, plugin)
    except ValueError as error:
        raise AccessError(f"{_named(plugin)} {error}{_said(done.stderr)}") from None


def _named(plugin: Plugin) -> str:
    return f"{plugin.place}: exec plugin {plugin.command}"


def _info(plugin: Plugin, *, is_interactive: bool) -> str:
    spec: dict[str, Any] = {"interactive": is_interactive}
    if plugin.cluster is not None:
        spec["cluster"] = msgspec.Raw(plugin.cluster.reveal())
    return msgspec.json.encode({"kind": _KIND, "apiVersion": plugin.api_version, "spec": spec}).decode()


def _said(stderr: bytes | None) -> str:
    """Return the end of what a plugin told people, to be put behind a message."""
    text = plain((stderr or b"").decode("utf-8", "replace")).strip()
    return f":\n{text[-_SHOWN:]}" if text else ""


def _credential(output: bytes, plugin: Plugin) -> Credential:
    """Return what an ExecCredential says; raises ValueError, in words without its content, if it is none."""
    documents, _ = yaml.parse(output, _KIND)
    try:
        answer = msgspec.convert(documents[0].value if documents else None, _Answer)
    except msgspec.ValidationError:
        raise ValueError(f"wrote no {_KIND}") from None
    if answer.kind != _KIND:
        raise ValueError(f"wrote no {_KIND}")
    if answer.api_version != plugin.api_version:
        raise ValueError(f"wrote another version than {plugin.api_version}, which it is configured for")
    status = answer.status
    if status is None:
        raise ValueError(f"wrote an {_KIND} without status")
    if bool(status.client_certificate_data) != bool(status.client_key_data):
        raise ValueError("gave a certificate without its key, or a key without its certificate")
    if not status.token and not status.client_certificate_data:
        raise ValueError("gave neither a token nor a certificate")
    if status.token and not fits_header(status.token):
        raise ValueError("gave a token with blanks, line breaks or control characters in it")
    pair = None
    if status.client_certificate_data:
        key = Secret((status.client_key_data or "").encode())
        pair = Pair(status.client_certificate_data.encode(), key, _named(plugin))
    return Credential(Secret(status.token) if status.token else None, pair, _seconds(status.expiration_timestamp))


def _seconds(timestamp: str | None) -> float | None:
    if timestamp is None:
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        raise ValueError("gave an expirationTimestamp that is none of RFC 3339") from None
    if moment.tzinfo is None:
        raise ValueError("gave an expirationTimestamp without a time zone")
    return moment.timestamp()
