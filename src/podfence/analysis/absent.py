# SPDX-License-Identifier: Apache-2.0
"""Peers of which nobody is in the input: what rules admit with pods that are yet to come, or elsewhere."""

from __future__ import annotations

from collections import defaultdict
from functools import partial, reduce
from itertools import product
from math import prod
from operator import or_
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.analysis.answers import AbsentConnection, AbsentPods, Term
from podfence.analysis.naming import as_ports
from podfence.analysis.unread import as_read
from podfence.cluster.members import Member
from podfence.cluster.selection import Selection
from podfence.cluster.state import NAME_LABEL
from podfence.kube.objects import Key
from podfence.policy.ends import PodEnd
from podfence.policy.engine import Bound
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet, members
from podfence.sets.addresses import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from podfence.analysis.asked import Asked
    from podfence.analysis.naming import Namer
    from podfence.analysis.ports import PortQuestion
    from podfence.kube.objects import Selector
    from podfence.policy.engine import Engine
    from podfence.policy.grants import Grant

_FEW: Final = 4
_MOST: Final = 32
_EVERY_POD: Final = Selection(None, None, None)


class AbsentGroup(NamedTuple):
    """What rules admit alike: with which pods of which none is in the input, on which ports, also by name.

    `some_here` says that some of these pods are in the input all the same, `depends` on what that depends, "" for
    nothing.
    """

    direction: Direction
    peers: Selection
    some_here: bool
    ports: PortSet
    names: tuple[str, ...]
    depends: str


def absent_groups(asked: Asked) -> dict[AbsentGroup, int]:
    """Return what rules admit to and from pods of which none is in the input, with the classes that have such rules.

    Left out is what the question is not about, what another rule admits to every pod anyway, and what the other end is
    known to deny.
    """
    found: dict[AbsentGroup, int] = defaultdict(int)
    for direction in Direction:
        subjects = asked.subjects(direction)
        for number in members(subjects & asked.reach.with_absent_peers(direction) if subjects else 0):
            member = next(iter(asked.view.index.classes[number].members.values()))
            grants = asked.reach.grants(direction, number)
            is_absent = partial(_is_absent, asked, direction, member.namespace)
            found_here = admitted(asked.view.engine, direction, member, grants, is_absent, asked.question.port)
            for selection, (ports, names) in found_here.items():
                clause = asked.unread.about(number, space_of(selection))
                some_here = not asked.reach.peers.is_nobody(selection)
                found[AbsentGroup(direction, selection, some_here, ports, names, as_read(clause, ""))] |= 1 << number
    return found


def absent_connections(asked: Asked, namer: Namer) -> tuple[AbsentConnection, ...]:
    """Return what rules admit to and from pods of which none is in the input, as sets."""
    items = [
        AbsentConnection(
            direction=item.direction,
            subjects=namer.endpoints(bits, only=_only(asked, namer, item.direction, bits)),
            peers=absent_pods(item.peers, some_here=item.some_here),
            ports=as_ports(item.ports),
            port_names=item.names,
            depends=item.depends,
        )
        for item, bits in absent_groups(asked).items()
    ]
    return tuple(sorted(items, key=lambda item: (item.direction, str(item.subjects), str(item.peers), item.ports_text)))


def _is_absent(asked: Asked, direction: Direction, namespace: str, peer: Selection) -> bool:
    if peer == _EVERY_POD and asked.reach.open_pods(direction.other) == asked.view.index.all:
        return False  # The list says it of all pods.
    return asked.reach.is_absent(direction, namespace, peer)


def _only(asked: Asked, namer: Namer, direction: Direction, bits: int) -> frozenset[str] | None:
    """Return the names to show; a few are named one by one, for "all pods" would say more than is known."""
    only = asked.only(direction)
    if only is not None or bits.bit_count() > _FEW:
        return only
    return namer.whole_names(bits)


def admitted(
    engine: Engine,
    direction: Direction,
    member: Member,
    grants: Iterable[Grant],
    is_absent: Callable[[Selection], bool],
    port: PortQuestion,
) -> dict[Selection, tuple[PortSet, tuple[str, ...]]]:
    """Return what the rules of a pod admit with peers that are absent: ports by number, and by name."""
    grants = list(grants)
    for_all = PortSet.union([grant.ports for grant in grants if grant.peer is None])
    for_pods = for_all | PortSet.union([grant.ports for grant in grants if grant.peer == _EVERY_POD])
    by_block = ports_by_block(engine, grants)
    found: dict[Selection, tuple[PortSet, tuple[str, ...]]] = {}
    for grant in grants:
        if not isinstance(grant.peer, Selection) or not is_absent(grant.peer):
            continue
        ports, names = grant.ports, tuple(f"{protocol} {name}" for name, protocol in grant.names)
        if direction is Direction.INGRESS and names:
            # A name is what the pod itself has under it (semantics 5.4).
            ports, names = ports | engine.named_ports(member, grant.names), ()
        elsewhere = by_block
        if port.name:
            named = tuple(text for text in names if text.endswith(f" {port.name}"))
            ports, names, elsewhere = PortSet.EMPTY, named, PortSet.EMPTY
        elif port.ports != PortSet.ALL:
            ports, names, elsewhere = ports & port.ports, (), elsewhere & port.ports
        may, surely = _at_other_end(engine, direction, grant.peer, member)
        settled = (for_all if grant.peer == _EVERY_POD else for_pods) | (PortSet.ALL - may)
        before, named = found.get(grant.peer, (PortSet.EMPTY, ()))
        ports = before | (((ports & may) | (elsewhere & surely)) - settled)
        names = unsaid(dict.fromkeys((*named, *names)), settled | ports)
        if ports or names:
            found[grant.peer] = ports, names
    return found


def unsaid(names: Iterable[str], ports: PortSet) -> tuple[str, ...]:
    """Return the names, such as ``TCP http``, whose number may be another port than these."""
    return tuple(name for name in names if not PortSet.whole(name.partition(" ")[0]) <= ports)


def ports_by_block(engine: Engine, grants: Iterable[Grant]) -> PortSet:
    """Return what rules about addresses admit to a pod wherever its unknown address may be (semantics 6.2, 13.6)."""
    blocks = [(grant.ports, grant.peer) for grant in grants if isinstance(grant.peer, AddressSet)]
    nobody = Member(Key("Pod", "", ""), None, {}, ())
    found = PortSet.EMPTY
    for ports in dict.fromkeys(ports for ports, _ in blocks):
        held = reduce(or_, (block for wider, block in blocks if ports <= wider))
        if all(engine.in_block(held, PodEnd(nobody, None, family)) for family in engine.assumed_families()):
            found |= ports
    return found


def supposed_pods(engine: Engine) -> Iterator[Member]:
    """Yield pods with exactly the labels by which policies select, and one without labels, if the input has no pods.

    The one without labels stands for all others of its namespace. It is called ``other-pods``: names have no spaces,
    which part them in CSV. A star is the value of a label that only has to be there. Selectors that ask for many
    combinations of values are left out.
    """
    if engine.state.members or not engine.world.is_open("Pod"):
        return
    for space in engine.state.namespaces:
        subjects = [policy.subject for policy in engine.policies(space)]
        for subject in subjects:
            terms = subject.pods.requirements if subject.pods else ()
            # Values that are asked for come last, and so count where the label is also said to exist.
            wanted = sorted((term for term in terms if term.operator in ("In", "Exists")), key=lambda term: term.values)
            values = {term.key: term.values or ("*",) for term in wanted}
            for chosen in product(*values.values()) if prod(map(len, values.values())) <= _MOST else ():
                labels = dict(zip(values, chosen, strict=True))
                if labels and subject.matches_labels(labels):
                    name = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
                    yield Member(Key("Pod", space, name), None, labels, ())
        if subjects:
            yield Member(Key("Pod", space, "other-pods"), None, {}, ())


def _at_other_end(engine: Engine, direction: Direction, peer: Selection, member: Member) -> tuple[PortSet, PortSet]:
    """Return the ports that the other end may admit and those that it surely does, as far as it is known who it is."""
    there = _sample(peer)
    if there is None:
        return PortSet.ALL, PortSet.ALL
    pairs = [direction.ordered(PodEnd(member, None, family), PodEnd(there, None, family)) for family in FAMILIES]
    may, surely = (
        PortSet.union(engine.admitted(direction.other, *pair, bound) for pair in pairs)
        for bound in (Bound.OPTIMISTIC, Bound.PESSIMISTIC)
    )
    return may, surely


def _sample(selection: Selection) -> Member | None:
    """Return the pod that a selection means and nothing more is known of, None if that is not one."""
    space = space_of(selection)
    terms = selection.pods.requirements if selection.pods else ()
    if not space or any(term.operator != "In" or len(term.values) != 1 for term in terms):
        return None
    return Member(Key("Pod", space, ""), None, {term.key: term.values[0] for term in terms}, ())


def space_of(selection: Selection) -> str:
    """Return the name of the one namespace that a selection means, "" if it does not say one."""
    if selection.namespace is not None:
        return selection.namespace
    for term in selection.namespaces.requirements if selection.namespaces else ():
        if term.key == NAME_LABEL and term.operator == "In" and len(term.values) == 1:
            return term.values[0]
    return ""


def absent_pods(selection: Selection, *, some_here: bool) -> AbsentPods:
    """Return the peers that a selection means as an answer tells them."""
    space = space_of(selection)
    alone = selection.namespaces is None or len(selection.namespaces.requirements) == 1
    return AbsentPods(
        namespace=space if alone else "",
        namespace_selector=() if space and alone else _terms(selection.namespaces),
        pod_selector=_terms(selection.pods),
        some_here=some_here,
    )


def _terms(selector: Selector | None) -> tuple[Term, ...]:
    return tuple(Term(item.key, item.operator, item.values) for item in selector.requirements) if selector else ()
