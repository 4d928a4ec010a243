# SPDX-License-Identifier: Apache-2.0
"""Programs that give credentials: one run of one (client-go's plugin/pkg/client/auth/exec).

What a program writes on its standard output is secret and never shown; its standard error is for people.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.errors import AccessError
from podfence.kube import yaml
from podfence.kube.access.access import Pair
from podfence.kube.access.config import reason
from podfence.kube.access.identity import fits_header, plain
from podfence.kube.access.secret import Secret
from podfence.kube.access.wire import Quiet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.access.access import Plugin

TIMEOUT: Final = 300.0
"""How long a plugin may take, in seconds: people log in with a browser meanwhile."""

_INFO: Final = "KUBERNETES_EXEC_INFO"
_KIND: Final = "ExecCredential"
_SHOWN: Final = 2000


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
        why = reason(error) if isinstance(error, OSError) else "its arguments or variables hold a null character"
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
