# SPDX-License-Identifier: Apache-2.0
"""How a user of a kubeconfig proves who it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from podfence.kube.access.access import PairSource, Plugin, Secret, basic
from podfence.kube.access.kubeconfig import contents, decode_data, set_twice
from podfence.kube.validation.findings import go_quote

if TYPE_CHECKING:
    from podfence.kube.access import wire
    from podfence.kube.access.kubeconfig import Entry
    from podfence.kube.findings import Finding

_V1BETA1: Final = "client.authentication.k8s.io/v1beta1"
_API_VERSIONS: Final = ("client.authentication.k8s.io/v1", _V1BETA1)
_MODES: Final = ("Never", "IfAvailable", "Always")
_DEFAULT_MODE: Final = "IfAvailable"
_REMOVED: Final = {
    "gcp": ("was removed from kubectl", "use the exec plugin gke-gcloud-auth-plugin"),
    "azure": ("was removed from kubectl", "use the exec plugin kubelogin"),
    "oidc": ("is not supported", "use an exec plugin, such as kubectl oidc-login"),
}
_UNKNOWN: Final = ("is not known to kubectl", "use an exec plugin")
_UNFIT: Final = re.compile(r"[^\x21-\x7e]")
# Colours and other escapes would reach the terminal.
_CONTROL: Final = re.compile(r"[^\S\n\t ]|[\x00-\x08\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Identity:
    """What is known of a user; `exec` is the plugin to ask, and there is none where anything else is known."""

    certificate: PairSource | None = None
    token: Secret[str] | None = None
    token_file: str = ""
    basic: Secret[str] | None = None
    exec: wire.Exec | None = None


def identify(user: Entry[wire.User], problems: list[Finding]) -> Identity:
    """Return how `user` is known, adding what is wrong with it to `problems`.

    Files of certificates and keys have to be readable; files of tokens are read when a token is needed.
    """
    value = user.value
    certificate = _certificate(user, problems)
    token_file = user.resolve(value.token_file or "")
    if value.token and not fits_header(value.token):
        problems.append(user.problem("a token has no blanks, line breaks or control characters in it", "token"))
    if (value.username or value.password) and (value.token or token_file):
        problems.append(user.problem("a token and a username are both set", remedy="remove one of the two"))
    is_identified = bool(certificate or value.token or token_file or value.username)
    if value.exec is not None:
        _check_plugin(user, value.exec, problems)
    if value.auth_provider is not None and value.exec is not None:
        message = "an auth-provider and an exec plugin are both set"
        problems.append(user.problem(message, "auth-provider", remedy="remove auth-provider"))
    elif value.auth_provider is not None and not is_identified:
        name = value.auth_provider.name or ""
        what, remedy = _REMOVED.get(name, _UNKNOWN)
        problems.append(user.problem(f"auth provider {go_quote(name)} {what}", "auth-provider", remedy=remedy))
    return Identity(
        certificate,
        Secret(value.token) if value.token else None,
        token_file,
        basic(value.username, value.password or "") if value.username else None,
        None if is_identified else value.exec,
    )


def plugin(user: Entry[wire.User], written: wire.Exec, cluster: Secret[bytes]) -> Plugin:
    """Return the plugin of a user that `identify` found nothing wrong with; `cluster` is what it may be told."""
    command = written.command or ""
    return Plugin(
        # A name without a slash is looked up in PATH.
        command=user.resolve(command) if "/" in command else command,
        args=Secret(tuple(argument or "" for argument in written.args or ())),
        env=Secret(tuple((item.name or "", item.value or "") for item in written.env or () if item is not None)),
        api_version=written.api_version or "",
        interactive=written.interactive_mode or _DEFAULT_MODE,
        install_hint=plain(written.install_hint or ""),
        cluster=cluster if written.provide_cluster_info else None,
        place=str(user.origin.at("exec")),
    )


def fits_header(text: str) -> bool:
    """Return whether a token can be sent in a header."""
    return _UNFIT.search(text) is None


def plain(text: str) -> str:
    """Return a text of somebody else's without characters that could change the state of a terminal."""
    return _CONTROL.sub("", text)


def _certificate(user: Entry[wire.User], problems: list[Finding]) -> PairSource | None:
    value = user.value
    if not value.client_certificate and not value.client_certificate_data:
        return None
    before = len(problems)
    if not value.client_key and not value.client_key_data:
        message = "a client certificate needs its key"
        problems.append(user.problem(message, remedy="add client-key-data or client-key"))
    certificate = _source(user, "client-certificate", value.client_certificate, value.client_certificate_data, problems)
    key = _source(user, "client-key", value.client_key, value.client_key_data, problems)
    return PairSource(certificate, key, str(user.origin.at())) if len(problems) == before else None


def _source(
    user: Entry[wire.User], field: str, path: str | None, data: str | None, problems: list[Finding]
) -> str | Secret[bytes]:
    if path and data:
        problems.append(set_twice(user, field))
    if path:
        contents(user, field, path, problems)
        return user.resolve(path)
    return Secret(decode_data(data or ""))


def _check_plugin(user: Entry[wire.User], written: wire.Exec, problems: list[Finding]) -> None:
    if not written.command:
        problems.append(user.problem("the plugin has no command", "exec", "command", remedy="write command: PROGRAM"))
    if written.api_version not in _API_VERSIONS:
        version = go_quote(written.api_version or "")
        message = f"{version} is no version of the plugins' protocol"
        problems.append(user.problem(message, "exec", "apiVersion", remedy=f"write {' or '.join(_API_VERSIONS)}"))
    mode = written.interactive_mode
    if mode and mode not in _MODES:
        message = f"{go_quote(mode)} is not one of {', '.join(_MODES)}"
        problems.append(user.problem(message, "exec", "interactiveMode"))
    elif not mode and written.api_version != _V1BETA1:
        message = "interactiveMode is required"
        problems.append(user.problem(message, "exec", "interactiveMode", remedy=f"write one of {', '.join(_MODES)}"))
    if any(item is not None and not item.name for item in written.env or ()):
        problems.append(user.problem("an environment variable has no name", "exec", "env"))
