# SPDX-License-Identifier: Apache-2.0
"""How large a generated cluster is.

This module and all that the measuring process imports stay small: Linux counts the memory of a parent
into the peak of the child it starts.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Size(NamedTuple):
    """The numbers of a cluster; the same numbers always give the same cluster.

    `mode` is ``pods`` for what a live cluster shows (Pods with owners, addresses and nodes) or
    ``workloads`` for what a repository holds (Deployments only, whose replicas add up to `pods`).
    `per_node` is how many pods a node has, about; at most 250.
    """

    pods: int
    namespaces: int
    policies: int
    seed: int = 1
    mode: Literal["pods", "workloads"] = "pods"
    per_node: int = 40

    def __str__(self) -> str:
        """Return ``5,400 pods, 604 namespaces, 13,600 policies``."""
        return f"{self.pods:,} pods, {self.namespaces:,} namespaces, {self.policies:,} policies"

    def arguments(self) -> list[str]:
        """Return the size as arguments for a child process, which `of` reads."""
        return [str(value) for value in self]

    @classmethod
    def of(cls, arguments: list[str]) -> Size:
        """Return the size that `arguments` gave."""
        pods, namespaces, policies, seed, mode, per_node = arguments
        numbers = (int(pods), int(namespaces), int(policies), int(seed))
        return cls(*numbers, "workloads" if mode == "workloads" else "pods", int(per_node))


SMALL = Size(500, 20, 125)
MEDIUM = Size(2_000, 80, 500)
LARGE = Size(5_400, 604, 13_600)
HUGE = Size(100_000, 5_000, 50_000)
