# SPDX-License-Identifier: Apache-2.0
"""What is in a lab at one moment."""

from __future__ import annotations

from typing import Literal

from podfence.documents import Value
from podfence.lab.addresses import PodNetworkKind

AgentState = Literal["enforcing", "behind", "not running"]
"""Whether a kernel has all that it should have, does not yet, or has nobody who would see to it."""


class LabNamespace(Value, frozen=True, kw_only=True):
    """A namespace, with all its labels."""

    name: str
    labels: dict[str, str]


class LabNode(Value, frozen=True, kw_only=True):
    """A node, and its agent."""

    name: str
    addresses: tuple[str, ...]
    pods: int
    agent: AgentState


class LabPod(Value, frozen=True, kw_only=True):
    """A pod; `runs` says for each container what really runs, and whether it is a stand-in."""

    namespace: str
    name: str
    node: str
    addresses: tuple[str, ...]
    phase: str
    restarts: int
    runs: tuple[str, ...]
    labels: dict[str, str]


class LabService(Value, frozen=True, kw_only=True):
    """A Service; `ports` are written as kubectl does, ``80:31261/TCP`` with a node port. No selector is ""."""

    namespace: str
    name: str
    type: str
    addresses: tuple[str, ...]
    ports: tuple[str, ...]
    backends: int
    selector: str


class LabPolicy(Value, frozen=True, kw_only=True):
    """A policy; `real` are the nodes whose kernels have it, with the seconds that took.

    `admitted` counts the packets that its rules let pass to begin a connection, `denied` those that were dropped at
    pods which it isolates. The selector that selects all pods is "".
    """

    namespace: str
    name: str
    real: dict[str, float]
    admitted: int
    denied: int
    selector: str


class Lab(Value, frozen=True, kw_only=True):
    """A lab that runs, and what is in it; `problem` says why it does not answer, "" if it does."""

    name: str
    nodes: int
    pods: int
    problem: str


class Labs(Value, frozen=True, kw_only=True):
    """The labs of a user, in order of name."""

    items: tuple[Lab, ...]


class LabStatus(Value, frozen=True, kw_only=True):
    """What is in a lab at one moment, in order of name.

    `network` is how pods are connected to their nodes; `waiting` are pods that no node has an address for.
    """

    name: str
    network: PodNetworkKind
    namespaces: tuple[LabNamespace, ...]
    nodes: tuple[LabNode, ...]
    pods: tuple[LabPod, ...]
    services: tuple[LabService, ...]
    policies: tuple[LabPolicy, ...]
    waiting: tuple[str, ...]
