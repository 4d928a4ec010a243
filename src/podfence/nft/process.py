# SPDX-License-Identifier: Apache-2.0
"""The runner that starts nft."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Final

from podfence.nft import listing
from podfence.nft.errors import NftError, NotInstalledError, classify
from podfence.nft.runner import Contents
from podfence.nft.sets import Map, Set
from podfence.nft.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podfence.nft.chain import Chain
    from podfence.nft.element import Element
    from podfence.nft.runner import RuleCounter
    from podfence.nft.transaction import Transaction

TIMEOUT: Final = 60.0
"""Seconds for one call; the slowest that was measured, emptying a large set of intervals, took 5.4."""


class NftRunner:
    """Nft as a process: scripts on its standard input, listings from its standard output.

    `prefix` is a command that starts nft somewhere else, such as `("ip", "netns", "exec", "node-1")`;
    `timeout` is in seconds and holds for one call.
    """

    def __init__(self, *, prefix: Sequence[str] = (), timeout: float = TIMEOUT) -> None:
        """Keep how nft is started; nothing is started yet."""
        self.prefix = tuple(prefix)
        self.timeout = timeout

    def version(self) -> str:
        """Return the version of nft, as in `1.0.6`."""
        output = self._nft("--version").decode()
        found = re.search(r"v(\d+(?:\.\d+)+)", output)
        if not found:
            raise NftError(f"nft tells no version: {output!r}")
        return found[1]

    def run(self, transaction: Transaction) -> None:
        """Carry out all of the transaction or nothing of it."""
        self._script(transaction)

    def check(self, transaction: Transaction) -> None:
        """Raise what `run` would raise, and change nothing; the kernel is asked too."""
        self._script(transaction, "--check")

    def list_table(self, table: Table) -> Table:
        """Return the table with its comment."""
        return Table(table.name, table.family, self._texts(table).comments.get(""))

    def list_chains(self, table: Table) -> tuple[Chain, ...]:
        """Return the chains of a table."""
        texts = self._texts(table)
        return tuple(listing.chain(item, texts) for item in listing.objects(self._terse(table), "chain"))

    def list_elements(self, table: Table, container: Set | Map) -> tuple[Element, ...]:
        """Return the elements of a set or map, in the order of their keys."""
        kind = "map" if isinstance(container, Map) else "set"
        output = self._nft("--json", "--numeric-protocol", "list", kind, table.family, table.name, container.name)
        return next(listing.elements(item) for item in listing.objects(output, kind))

    def counters(self, table: Table) -> tuple[RuleCounter, ...]:
        """Return the counters of all rules that count."""
        return listing.counters(self._terse(table))

    def contents(self, table: Table) -> Contents:
        """Return all of a table, read by two calls; nobody else may change it meanwhile."""
        texts = self._texts(table)
        output = self._nft("--json", "--numeric-protocol", "list", "table", table.family, table.name)
        return Contents(
            Table(table.name, table.family, texts.comments.get("")),
            tuple(listing.chain(item, texts) for item in listing.objects(output, "chain")),
            tuple(listing.container(item) for kind in ("set", "map") for item in listing.objects(output, kind)),
            {chain: tuple(rules) for chain, rules in texts.rules.items()},
            {item["name"]: listing.elements(item) for kind in ("set", "map") for item in listing.objects(output, kind)},
        )

    def _texts(self, table: Table) -> listing.Texts:
        output = self._nft("--handle", "--stateless", "--terse", "list", "table", table.family, table.name)
        return listing.texts(output.decode())

    def _terse(self, table: Table) -> bytes:
        return self._nft("--json", "--terse", "list", "table", table.family, table.name)

    def _script(self, transaction: Transaction, *options: str) -> None:
        if transaction.error is not None:
            raise transaction.error
        self._nft(*options, "--file", "-", script=str(transaction))

    def _nft(self, *arguments: str, script: str = "") -> bytes:
        command = [*self.prefix, "nft", *arguments]
        try:
            done = subprocess.run(
                command,
                input=script.encode(),
                capture_output=True,
                timeout=self.timeout,
                env={**os.environ, "LC_ALL": "C"},
                check=False,
            )
        except FileNotFoundError as error:
            raise NotInstalledError(f"{error.filename} is not on PATH") from error
        except subprocess.TimeoutExpired as error:
            raise NftError(f"nft gave no answer within {self.timeout} s: {' '.join(command)}") from error
        if done.returncode:
            raise classify(done.stderr.decode(errors="replace"), script)
        return done.stdout
