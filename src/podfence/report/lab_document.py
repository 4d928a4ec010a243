# SPDX-License-Identifier: Apache-2.0
"""The object that `lab status -o json` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from podfence.report.values import API_VERSION, ApiVersion, Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.lab import status

_Part = TypeVar("_Part", bound=Value)

AgentName = Literal["enforcing", "behind", "not running"]


class LabNode(Value, frozen=True):
    """A node of a lab; `agent` says whether its kernel has all that it should have."""

    name: str
    addresses: tuple[str, ...]
    pods: int
    agent: AgentName


class LabPod(Value, frozen=True):
    """A pod of a lab; `runs` says for each container what really runs, and whether it is a stand-in."""

    namespace: str
    name: str
    node: str
    addresses: tuple[str, ...]
    phase: str
    restarts: int
    runs: tuple[str, ...]


class LabService(Value, frozen=True):
    """A Service of a lab; `ports` are written as kubectl does."""

    namespace: str
    name: str
    type: str
    addresses: tuple[str, ...]
    ports: tuple[str, ...]
    backends: int


class LabPolicy(Value, frozen=True):
    """A policy of a lab; `real` maps nodes to the seconds it took until their kernels had it.

    `admitted` counts packets that its rules let begin a connection, `denied` those dropped at pods that it isolates.
    """

    namespace: str
    name: str
    real: dict[str, float]
    admitted: int
    denied: int


class LabStatus(Value, frozen=True):
    """What is in a lab at one moment; `waiting` are objects whose pods cannot be started yet."""

    api_version: ApiVersion
    kind: Literal["LabStatus"]
    name: str
    nodes: tuple[LabNode, ...]
    pods: tuple[LabPod, ...]
    services: tuple[LabService, ...]
    policies: tuple[LabPolicy, ...]
    waiting: tuple[str, ...]


def document(found: status.Status) -> LabStatus:
    """Return the state of a lab as a document."""
    return LabStatus(
        api_version=API_VERSION,
        kind="LabStatus",
        name=found.name,
        nodes=_parts(found.nodes, LabNode),
        pods=_parts(found.pods, LabPod),
        services=_parts(found.services, LabService),
        policies=_parts(found.policies, LabPolicy),
        waiting=found.waiting,
    )


def _parts(items: Iterable[msgspec.Struct], kind: type[_Part]) -> tuple[_Part, ...]:
    return tuple(msgspec.convert(item, kind, from_attributes=True) for item in items)
