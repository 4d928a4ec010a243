# SPDX-License-Identifier: Apache-2.0
"""No policy in force on the nodes of a lab for a while: agents wait, and the kernels pass over their tables."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE
from podfence.lab.network.namespaces import inside
from podfence.nft.errors import NotFoundError
from podfence.nft.process import NftRunner
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from podfence.lab.agents import NodeAgent
    from podfence.lab.processes.holder import Holder


@contextmanager
def lifted(agents: Collection[NodeAgent], nodes: Collection[Holder]) -> Iterator[None]:
    """Have no policy in force on nodes while this lasts.

    Afterwards all is as it was, and the agents go on, also if something fails. Raises NftError, and NetworkError if a
    node has ended.
    """
    with ExitStack() as after:
        for agent in agents:
            after.callback(agent.resume)
            agent.pause()
        for node in nodes:
            after.callback(_set, node, dormant=False)
            _set(node, dormant=True)
        yield


def _set(node: Holder, *, dormant: bool) -> None:
    runner = NftRunner()
    with inside(node.pid, node.name):
        for table in (TABLE, BRIDGE_TABLE):
            with suppress(NotFoundError):
                found = runner.list_table(table)
                runner.run(Transaction(found).add(replace(found, dormant=dormant)))
