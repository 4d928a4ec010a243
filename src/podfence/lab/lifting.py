# SPDX-License-Identifier: Apache-2.0
"""No policy in force on the nodes of a lab for a while: agents wait, and the kernels pass over their tables."""

from __future__ import annotations

from contextlib import contextmanager
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


@contextmanager
def lifted(agents: Collection[NodeAgent], pids: Collection[int]) -> Iterator[None]:
    """Have no policy in force on nodes, each given by a process in its network namespace, while this lasts.

    Afterwards all is as it was, and the agents go on. Raises NftError, and NetworkError if a node has ended.
    """
    for agent in agents:
        agent.pause()
    try:
        _set(pids, dormant=True)
        yield
    finally:
        _set(pids, dormant=False)
        for agent in agents:
            agent.resume()


def _set(pids: Collection[int], *, dormant: bool) -> None:
    runner = NftRunner()
    for pid in pids:
        with inside(pid):
            for table in (TABLE, BRIDGE_TABLE):
                try:
                    found = runner.list_table(table)
                except NotFoundError:
                    continue
                runner.run(Transaction(found).add(replace(found, dormant=dormant)))
