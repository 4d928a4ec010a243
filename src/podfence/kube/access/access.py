# SPDX-License-Identifier: Apache-2.0
"""The way to one cluster as one immutable value: the server, how it is known, and who asks; and what was asked for."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from podfence.kube.access.address import Proxy, Server

T_co = TypeVar("T_co", covariant=True)

# What may stand in the name of a header; client-go escapes everything else, and % itself.
_HEADER_NAME: Final = "!#$&'*+-.^_`|~"


class Secret(Generic[T_co]):
    """A value that is taken out by name only: its text, also inside of other values, does not show it."""

    __slots__ = ("_value",)

    def __init__(self, value: T_co) -> None:
        self._value = value

    def reveal(self) -> T_co:
        """Return the value; what it is put into has to be kept from people's eyes too."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __eq__(self, other: object) -> bool:
        return self._value == other.reveal() if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody asked for on a command line; "" is what the kubeconfig says."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    namespace: str = ""
    impersonate: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""

    @property
    def names_entries(self) -> bool:
        """Whether anything was asked for that only a kubeconfig has."""
        return bool(self.context or self.cluster or self.user)


@dataclass(frozen=True, slots=True)
class Pair:
    """A client certificate with its chain, and the key of it, both as PEM; `place` is where they are configured."""

    certificate: bytes
    key: Secret[bytes]
    place: str


@dataclass(frozen=True, slots=True)
class PairSource:
    """What a client certificate and its key are read from: the path of a file, or the data themselves."""

    certificate: str | Secret[bytes]
    key: str | Secret[bytes]
    place: str


@dataclass(frozen=True, slots=True)
class Impersonation:
    """Whom the server should take the user for."""

    user: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers of every request; a name comes as often as it has values."""
        headers = [("Impersonate-User", self.user)]
        if self.uid:
            headers.append(("Impersonate-Uid", self.uid))
        headers += [("Impersonate-Group", group) for group in self.groups]
        for key, values in self.extra:
            name = f"Impersonate-Extra-{quote(key, safe=_HEADER_NAME)}"
            headers += [(name, value) for value in values]
        return tuple(headers)


@dataclass(frozen=True, slots=True)
class Plugin:
    """A program that gives credentials (``client.authentication.k8s.io``).

    `interactive` is Never, IfAvailable or Always. `cluster` is what it is told about the cluster, as JSON,
    None if it is told nothing; `place` is where it is configured, as ``file:line``.
    """

    command: str
    args: Secret[tuple[str, ...]]
    env: Secret[tuple[tuple[str, str], ...]]
    api_version: str
    interactive: str
    install_hint: str
    cluster: Secret[bytes] | None
    place: str


@dataclass(frozen=True, slots=True)
class Access:
    """How requests to one cluster are sent; `podfence.kube.access.credentials` makes the changing part of it.

    `ca` is PEM, empty for the system's authorities; `server_name` is the name the server's certificate has to
    have if it is not that of the host. `context` is "" without a kubeconfig's context, and `source` names for
    people where all of this was read.
    """

    server: Server
    namespace: str
    source: str
    context: str = ""
    ca: bytes = field(default=b"", repr=False)
    insecure: bool = False
    server_name: str = ""
    proxy: Proxy | None = None
    compressed: bool = True
    certificate: PairSource | None = None
    token: Secret[str] | None = None
    token_file: str = ""
    basic: Secret[str] | None = None
    plugin: Plugin | None = None
    impersonation: Impersonation | None = None


def basic(username: str, password: str) -> Secret[str]:
    """Return the value of an Authorization header for a name and a password."""
    return Secret("Basic " + b64encode(f"{username}:{password}".encode()).decode())
