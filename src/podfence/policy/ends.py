# SPDX-License-Identifier: Apache-2.0
"""The ends of a connection as the engine judges them: one pod, one address outside, or one node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from podfence.cluster.members import Member
    from podfence.policy.verdict import Dependency
    from podfence.sets.addresses import Family


Supposed = Mapping[str, str | None]
"""Labels that an end is supposed to have, those that are known among them; None is without."""


class PodEnd(Struct, frozen=True):
    """A pod at one of its addresses; `address` is None when not known, `family` the one to assume then.

    `through_service` says that the connection comes to it through a Service (semantics 7.2), `itself` that the other
    end is this very pod, which a member that stands for several pods does not tell (7.1). `space` and `labels` are the
    labels of its namespace and of the pod where something is supposed of those that are not known. It may have labels
    besides these and the member's if `more` (semantics 13.7).
    """

    member: Member
    address: int | None
    family: Family
    through_service: bool = False
    itself: bool = False
    space: Supposed | None = None
    labels: Supposed | None = None
    more: bool = False

    def __hash__(self) -> int:
        """Return a hash of everything but what is supposed: mappings have none."""
        return hash((self.member, self.address, self.family, self.through_service, self.itself, self.more))


class AddressEnd(Struct, frozen=True):
    """An address that is no pod's and no node's; `name` says what it stands for (``internet``), if for more.

    `behind` says what is not known, if something unknown may stand behind it: then nothing is sure but what the source
    may send at all (semantics 13.7, 13.8).
    """

    address: int
    name: str = ""
    behind: Dependency | None = None

    @property
    def family(self) -> Family:
        """The family of the address."""
        return family_of(self.address)


class NodeEnd(Struct, frozen=True):
    """A node, or a hostNetwork pod on it (semantics 7.6); `address` is None when not known.

    `own` says that it is the node of the pod at the other end, or that it is another one, whatever its name; None
    leaves it to the name. It is `anywhere` if it stands for the pods of a workload of which no node is known.
    """

    name: str
    address: int | None
    family: Family
    own: bool | None = None
    anywhere: bool = False


End = PodEnd | AddressEnd | NodeEnd


def is_one_pod(one: End, other: End) -> bool:
    """Return whether both ends are one and the same pod, and no template that stands for several."""
    if not (isinstance(one, PodEnd) and isinstance(other, PodEnd)):
        return False
    return one.member.key == other.member.key and one.member.pod is not None
