# SPDX-License-Identifier: Apache-2.0
"""What a class of pods is: the pods of which all that is looked at is equal.

A class is given by namespace, the labels whose keys some selection looks at, the container ports
whose names some policy uses, and the elementary address ranges its addresses lie in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from podfence.cluster.members import Member
from podfence.kube.objects import Key

if TYPE_CHECKING:
    from podfence.cluster.looks import Look, Looks

ClassKey = tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str, int, bool], ...], tuple[int, ...]]
"""Namespace, labels, named ports and cells, as in `PodClass`; equal for the members of one class."""


class PodClass(Struct, eq=False):
    """One class: its bit position, what its members share, and the members.

    `ports` are (name, protocol, number, sidecar) of the names in use; `cells` are the first numbers of
    the elementary address ranges of its addresses, empty when they are not known.
    """

    id: int
    namespace: str
    labels: dict[str, str]
    ports: tuple[tuple[str, str, int, bool], ...]
    cells: tuple[int, ...]
    members: dict[Key, Member] = field(default_factory=dict)


def class_key(member: Member, looks: Looks) -> ClassKey:
    """Return what is seen of a member by all that is looked at: what its class is known by."""
    keys, names = looks.keys, looks.names
    labels = tuple(sorted(item for item in member.labels.items() if item[0] in keys))
    ports: tuple[tuple[str, str, int, bool], ...] = ()
    if names and member.ports:
        used = {(p.name, p.protocol, p.number, p.sidecar) for p in member.ports if p.name in names}
        ports = tuple(sorted(used))
    cells = tuple(sorted(looks.cell(number) for number in member.addresses))
    return member.namespace, labels, ports, cells


def told_apart_by(new: Look, member: Member, looks: Looks) -> object:
    """Return what is seen of a member by a new look, which is among `looks`; equal values are not told apart."""
    labels = member.labels
    found: tuple[object, ...] = tuple(labels.get(key) for key in new.keys)
    if new.names:
        found += (frozenset(port for port in member.ports if port.name in new.names),)
    if new.cuts:
        found += (frozenset(looks.cell(number) for number in member.addresses),)
    return found
