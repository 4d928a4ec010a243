# SPDX-License-Identifier: Apache-2.0
"""The file of ``--accept``: differences that somebody has accepted, each for a reason and until a day.

[[accept]]
change = "opened"
from = "shop/deploy/job"
to = ["shop/deploy/db", "shop/deploy/cache"]
ports = ["3306", "53/udp"]
reason = "the import of March"
expires = 2027-03-31
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from podfence.analysis.diff.review import KINDS, Allowance
from podfence.analysis.ports import parse_port
from podfence.cli.settings import ConfigError, check_keys, tables, texts
from podfence.errors import EndpointError
from podfence.sets.ports import PortSet

if TYPE_CHECKING:
    from collections.abc import Iterator

_LIST: Final = "accept"
_KEYS: Final = ("change", "from", "to", "ports", "reason", "expires")
_EVERYTHING: Final = "*"
_CHANGES: Final = tuple(kind for kind in KINDS if kind not in {"unseen", "incomplete", "complete"})


def read(path: str, data: bytes) -> tuple[Allowance, ...]:
    """Return what the contents of a file accept. Raises ConfigError with the entry and the key that is wrong."""
    content = tables(path, data)
    entries = content.get(_LIST, [])
    unknown = [key for key in content if key != _LIST]
    if unknown or not isinstance(entries, list):
        raise ConfigError(f"{path}: expected a list of tables [[{_LIST}]], found {unknown[0] if unknown else _LIST!r}")
    return tuple(_Entry(path, number, entry).allowance() for number, entry in enumerate(entries, 1))


class _Entry:
    """One entry, taken key by key."""

    def __init__(self, path: str, number: int, content: object) -> None:
        self._place = f"{path}: entry {number}"
        if not isinstance(content, dict):
            raise ConfigError(f"{self._place}: expected a table, found {content!r}")
        self._content: dict[str, Any] = content
        check_keys(self._place, content, _KEYS)

    def allowance(self) -> Allowance:
        """Return what the entry says, checked."""
        change = self._content.get("change", "opened")
        if change not in _CHANGES:
            raise ConfigError(f"{self._place}: change: expected one of {', '.join(_CHANGES)}, found {change!r}")
        reason = self._content.get("reason")
        if not isinstance(reason, str) or not reason.strip():
            raise ConfigError(f"{self._place}: reason: say in a text why this is accepted")
        expires = self._content.get("expires")
        if not isinstance(expires, dt.date) or isinstance(expires, dt.datetime):
            raise ConfigError(f"{self._place}: expires: expected the last day, such as 2027-03-31, found {expires!r}")
        return Allowance(
            change=change,
            sources=self._texts("from"),
            destinations=self._texts("to"),
            ports=PortSet.union(self._ports()),
            reason=" ".join(reason.split()),
            expires=expires,
            place=self._place,
        )

    def _texts(self, key: str) -> tuple[str, ...]:
        return texts(self._place, key, self._content.get(key, _EVERYTHING), some=True)

    def _ports(self) -> Iterator[PortSet]:
        for text in self._texts("ports") if "ports" in self._content else ():
            try:
                asked = parse_port(text)
            except EndpointError as error:
                raise ConfigError(f"{self._place}: ports: {error}") from None
            if asked.name:
                raise ConfigError(f"{self._place}: ports: {text!r} is a name; write its number")
            yield asked.ports
        if "ports" not in self._content:
            yield PortSet.ALL
