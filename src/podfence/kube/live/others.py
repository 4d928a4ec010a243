# SPDX-License-Identifier: Apache-2.0
"""Policies of other kinds that a cluster has: counted, because what they decide is not in any answer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.kube.live.errors import ForbiddenError, NotFoundError
from podfence.kube.live.items import PIECES
from podfence.kube.live.resources import Resource, not_permitted, version_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.findings import Finding
    from podfence.kube.live.session import Session

KINDS: Final[Mapping[str, frozenset[str]]] = {
    "policy.networking.k8s.io": frozenset(("AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy")),
    "cilium.io": frozenset(("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy")),
    "crd.projectcalico.org": frozenset(("NetworkPolicy", "GlobalNetworkPolicy")),
    "crd.antrea.io": frozenset(("NetworkPolicy", "ClusterNetworkPolicy")),
}
"""The kinds that are looked for, by API group."""


class _Version(msgspec.Struct, rename="camel"):
    group_version: str


class _Group(msgspec.Struct, rename="camel"):
    name: str
    preferred_version: _Version


class _Groups(msgspec.Struct):
    groups: list[_Group]


class _Resource(msgspec.Struct):
    name: str
    kind: str


class _Resources(msgspec.Struct):
    resources: list[_Resource]


async def count_policies(session: Session) -> tuple[Counter[str], list[Finding]]:
    """Return how many policies of other kinds there are, by kind and group, and which may not be counted.

    Takes one request in a cluster that has none of their groups. Raises as `Session` does.
    """
    found: Counter[str] = Counter()
    problems: list[Finding] = []
    try:
        groups = msgspec.json.decode(await session.get("/apis"), type=_Groups).groups
    except (ForbiddenError, NotFoundError, msgspec.DecodeError):
        return found, problems
    for group in groups:
        if group.name in KINDS:
            await _count(session, group.preferred_version.group_version, group.name, found, problems)
    return found, problems


async def _count(session: Session, version: str, group: str, found: Counter[str], problems: list[Finding]) -> None:
    try:
        served = msgspec.json.decode(await session.get(version_path(version)), type=_Resources).resources
    except (NotFoundError, ForbiddenError, msgspec.DecodeError):
        return
    for item in served:
        if item.kind not in KINDS[group] or "/" in item.name:
            continue
        resource = Resource(item.kind, version, item.name, namespaced=True)
        try:
            answer = PIECES.decode(await session.get(resource.path, {"limit": "1"}))
        except (NotFoundError, msgspec.DecodeError):
            continue
        except ForbiddenError:
            unknown = "cannot say whether there are any that decide"
            problems.append(not_permitted(resource, f"{item.name}.{group}", unknown))
            continue
        more = answer.metadata.remaining_item_count if answer.metadata is not None else None
        count = len(answer.items or ()) + (more or 0)
        if count:
            found[f"{item.kind}.{group}"] = count
