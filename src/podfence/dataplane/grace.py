# SPDX-License-Identifier: Apache-2.0
"""The time after the first table of a node was made, in which connections without an entry may be picked up.

Whatever is cut in it must not be: its next segment could be its server's, and the entry the wrong way round.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.dataplane.ruleset import TABLE, address_text
from podfence.dataplane.tracked import ENDED, GRACE
from podfence.nft.element import Element
from podfence.nft.errors import NftError, NotFoundError
from podfence.nft.sets import Elements
from podfence.nft.transaction import Transaction
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from podfence.dataplane.flows import Flow
    from podfence.dataplane.kept import KeptTable
    from podfence.nft.runner import Runner


class Grace:
    """What is left of that time in a table; the kernel ends it by itself."""

    def __init__(self, runner: Runner, table: KeptTable) -> None:
        """Ask nothing yet."""
        self._runner = runner
        self._table = table
        self._is_over = False

    def end(self, flows: Collection[Flow]) -> bool:
        """Let connections not be picked up again; return whether they cannot be from now on.

        If the kernel does not take that, it has to be tried again.
        """
        if not flows or not self._is_on():
            return True
        transaction = Transaction(TABLE)
        for family, container in ENDED.items():
            ends = [item for flow in flows if family_of(flow.source) == family for item in _both(flow)]
            if ends:
                transaction.add(Elements(container, tuple(ends)))
        try:
            self._table.run(transaction)
        except NftError:
            return False
        return True

    def _is_on(self) -> bool:
        # Once it is over no other begins, so that nobody has to be asked again.
        if not self._is_over:
            try:
                self._is_over = not self._runner.list_elements(TABLE, GRACE)
            except NotFoundError:
                return False
            except NftError:
                return True
        return not self._is_over


def _both(flow: Flow) -> tuple[Element, Element]:
    """Return the ends of both directions as the rules of the table see them, which is behind Services."""
    client = address_text(flow.source), str(flow.original.source_port)
    server = address_text(flow.destination), str(flow.reply.source_port)
    return Element((*client, *server)), Element((*server, *client))
