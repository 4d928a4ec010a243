# SPDX-License-Identifier: Apache-2.0
"""Policies of other kinds that a cluster has: counted, because what they decide is not in any answer."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.kube.findings import Severity, unreadable
from podfence.kube.live.errors import ForbiddenError, NotFoundError
from podfence.kube.live.resources import version_path

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


class _ListMeta(msgspec.Struct, rename="camel"):
    remaining_item_count: int | None = None


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


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
            path = version_path(group.preferred_version.group_version)
            await _count(session, path, group.name, found, problems)
    return found, problems


async def _count(session: Session, path: str, group: str, found: Counter[str], problems: list[Finding]) -> None:
    try:
        resources = msgspec.json.decode(await session.get(path), type=_Resources).resources
    except (NotFoundError, ForbiddenError, msgspec.DecodeError):
        return
    for resource in resources:
        if resource.kind not in KINDS[group] or "/" in resource.name:
            continue
        try:
            answer = msgspec.json.decode(await session.get(f"{path}/{resource.name}", {"limit": "1"}), type=_List)
        except (NotFoundError, msgspec.DecodeError):
            continue
        except ForbiddenError:
            rule = f'{{apiGroups: ["{group}"], resources: ["{resource.name}"], verbs: ["list"]}}'
            message = "may not be listed, so the answer cannot say whether there are any that decide"
            remedy = f"grant it with a ClusterRole rule: {rule}"
            problems.append(unreadable(f"{resource.name}.{group}", message, remedy, severity=Severity.WARNING))
            continue
        count = len(answer.items or ()) + (answer.metadata.remaining_item_count or 0)
        if count:
            found[f"{resource.kind}.{group}"] = count
