# SPDX-License-Identifier: Apache-2.0
"""The ends of a connection as the engine judges them: one pod, one address outside, or one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podfence.cluster.members import Member
    from podfence.sets.addresses import Family


@dataclass(frozen=True, slots=True)
class PodEnd:
    """A pod at one of its addresses; `address` is None when not known, `family` the one to assume then.

    `through_service` says that the connection comes to it through a Service (semantics 7.2), `itself` that the other
    end is this very pod, which a member that stands for several pods does not tell (7.1).
    """

    member: Member
    address: int | None
    family: Family
    through_service: bool = False
    itself: bool = False


@dataclass(frozen=True, slots=True)
class AddressEnd:
    """An address that is no pod's and no node's; `name` says what it stands for (``internet``), if for more."""

    address: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class NodeEnd:
    """A node, or a hostNetwork pod on it (semantics 7.6); `address` is None when not known.

    `own` says that it is the node of the pod at the other end, whatever its name.
    """

    name: str
    address: int | None
    family: Family
    own: bool = False


End = PodEnd | AddressEnd | NodeEnd
