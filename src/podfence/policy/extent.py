# SPDX-License-Identifier: Apache-2.0
"""How far a connection is surely allowed and how far it may be, whatever is not known turns out to be (semantics 13).

The two bounds of the engine take each use of something unknown for itself. Where they differ one unknown is taken
apart into the values that can matter, each is supposed at all of its uses at once, and the question is asked again for
each. So an unknown that stands in several places is judged once for all of them: one rule that asks for a label and
another that asks for its absence admit the pod together, whatever its labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec.structs import replace

from podfence.cluster.controllers import ALIKE, UNKNOWN, is_unknown
from podfence.cluster.members import display_name
from podfence.cluster.selection import Selection, may_hold
from podfence.cluster.services import ENDPOINT
from podfence.policy import unknown
from podfence.policy.ends import AddressEnd, End, NodeEnd, PodEnd
from podfence.policy.engine import kind_of
from podfence.policy.ruling import Ruling
from podfence.policy.verdict import Decision, Dependency, Direction, Meaning
from podfence.sets import AddressSet, PortSet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from podfence.kube.objects import Requirement, Selector
    from podfence.policy.ends import Supposed
    from podfence.policy.engine import Engine
    from podfence.policy.grants import CompiledPolicy

_MOST = 200
"""So many times a question is asked again; what is open then stays open."""

_THOROUGH = 40
"""So many times it is asked for all that it may depend on, and then only until it is clear that it does."""

_ANYTHING_ELSE = "anything else"
_OTHER = "another value"
"""In the place of any value that no selector names; no label can have it."""


Rulings = Mapping[Direction, Ruling]
"""How each direction asked about is decided."""

_NONE: Final[Rulings] = {}


class Extent(NamedTuple):
    """The ports that are surely allowed, those that may be, and the unknowns because of which these differ.

    `rulings` are those that decided, if the engine was asked.
    """

    low: PortSet
    high: PortSet
    rests_on: tuple[Dependency, ...] = ()
    rulings: Rulings = _NONE

    def decision(self, ports: PortSet) -> Decision:
        """Return how ports are decided; they depend too if they are decided differently."""
        if ports <= self.low:
            return Decision.ALLOWED
        return Decision.DEPENDS if ports & self.high else Decision.DENIED


class _Case(NamedTuple):
    """One value of something unknown, in words, and the ends as they are then."""

    value: str
    source: End
    destination: End


class _Open(NamedTuple):
    """Something that is not known, the values that can matter, and the keys of the labels that they are of, if any."""

    what: Dependency
    cases: tuple[_Case, ...]
    labels: frozenset[str] = frozenset()


def extent(
    engine: Engine,
    source: End,
    destination: End,
    asked: PortSet = PortSet.ALL,
    directions: tuple[Direction, ...] = tuple(Direction),
) -> Extent:
    """Return how far a connection is allowed on the ports asked about, or how far some of its directions allow it."""
    return _Question(engine, asked, directions).of(source, destination, {})


class _Question:
    def __init__(self, engine: Engine, asked: PortSet, directions: tuple[Direction, ...]) -> None:
        self._engine = engine
        self._asked = asked
        self._directions = directions
        self._left = _MOST

    def of(self, source: End, destination: End, known: Rulings, supposed: frozenset[str] = frozenset()) -> Extent:
        """Return the extent for two ends, of which these labels or an address are supposed since `known` rulings."""
        rulings = {
            way: self._engine.ruling(way, source, destination, known.get(way), supposed) for way in self._directions
        }
        low = reduce(and_, (ruling.low for ruling in rulings.values())) & self._asked
        high = reduce(and_, (ruling.high for ruling in rulings.values())) & self._asked
        if low == high:
            return Extent(low, high, (), rulings)
        unread = tuple(self._unread(source, destination, rulings))
        found = self._find(source, destination, high - low, rulings)
        if found is None:
            return Extent(low, high, unread, rulings)
        self._left -= 1
        if self._left < 0:
            return Extent(low, high, (*unread, found.what), rulings)
        answers: list[tuple[str, Extent]] = []
        surely, perhaps = self._asked, PortSet.EMPTY
        for case in found.cases:
            if _MOST - self._left > _THOROUGH and (surely, perhaps) == (low, high):
                answers.append((_ANYTHING_ELSE, Extent(low, high)))
                break
            answer = self.of(case.source, case.destination, rulings, found.labels)
            answers.append((case.value, answer))
            surely, perhaps = surely & answer.low, perhaps | answer.high
        return Extent(surely, perhaps, _merged(unread, self._weighed(found.what, answers), answers), rulings)

    def _weighed(self, what: Dependency, answers: list[tuple[str, Extent]]) -> tuple[Dependency, ...]:
        """Return an unknown with what its values would mean; nothing if they all mean the same."""
        inside = any(_same(what, other) for _, answer in answers for other in answer.rests_on)
        if not inside and len({(answer.low, answer.high) for _, answer in answers}) == 1:
            return ()
        meanings = [meaning for value, answer in answers for meaning in self._meanings(what, value, answer)]
        last = meanings[-1].decision
        told = [meaning for meaning in meanings[:-1] if meaning.decision is not last]
        return (replace(what, values=tuple(dict.fromkeys((*told, Meaning(_ANYTHING_ELSE, last))))),)

    def _meanings(self, what: Dependency, value: str, answer: Extent) -> Iterator[Meaning]:
        within = next((other for other in answer.rests_on if _same(what, other)), None)
        if within is None or not within.values:
            yield Meaning(value, answer.decision(self._asked))
            return
        for meaning in within.values:
            yield Meaning(value if meaning.value == _ANYTHING_ELSE else f"{value}, {meaning.value}", meaning.decision)

    def _unread(self, source: End, destination: End, rulings: Rulings) -> Iterator[Dependency]:
        for direction, ruling in rulings.items():
            subject, peer = direction.ordered(source, destination)
            if not isinstance(subject, PodEnd) or ruling.exemption:
                continue
            for gap in self._engine.world.unread(subject.member.namespace):
                yield unknown.unread(gap.what, gap.remedy)
            if isinstance(peer, AddressEnd) and peer.behind is not None:
                yield peer.behind
            end = subject if direction is Direction.INGRESS else peer
            admissions = (item for tier in ruling.tiers for item in tier.admissions)
            if isinstance(end, PodEnd) and any(item.is_unread and item.ports & self._asked for item in admissions):
                yield _backends(end) if end.more else unknown.port_names(_name(end))

    # What is open

    def _find(self, source: End, destination: End, doubt: PortSet, rulings: Rulings) -> _Open | None:
        """Return something unknown because of which ports are in doubt; None if only options leave them open."""
        for direction, ruling in rulings.items():
            subject, peer = direction.ordered(source, destination)
            if not isinstance(subject, PodEnd):
                continue
            found = self._find_in(direction, subject, peer, doubt, ruling)
            if found is not None:
                cases = (_Case(value, *direction.ordered(*ends)) for value, *ends in found.cases)
                return found._replace(cases=tuple(cases))
        return None

    def _find_in(
        self, direction: Direction, subject: PodEnd, peer: End, doubt: PortSet, ruling: Ruling
    ) -> _Open | None:
        """Return something unknown at one side, and the cases with the subject first."""
        engine = self._engine
        node_matters = direction is Direction.INGRESS or engine.options.own_node_egress != "policy"
        if isinstance(peer, NodeEnd) and engine.is_own_node(subject, peer) is None and node_matters:
            return _whose_node(subject, peer)
        if ruling.exemption:
            return None
        for policy in (policy for tier in ruling.tiers for policy in tier.maybe):
            key = self._open_space(policy.subject, subject)
            if key is not None:
                return self._space_label(key, subject.member.namespace, subject, peer)
            asked = self._open_requirement(policy.subject.pods, subject)
            if asked is not None:
                return self._pod_label(asked, subject, peer, at_subject=True)
        for item in (item for tier in ruling.tiers for item in tier.admissions):
            means = item.grant.peer
            if item.matched or not item.ports & doubt:
                continue
            if isinstance(means, Selection) and isinstance(peer, PodEnd):
                return self._peer_label(means, subject, peer)
            if (
                isinstance(means, AddressSet)
                and isinstance(peer, PodEnd | NodeEnd)
                and peer.address is None
                and engine.world.holds_unset(means, kind_of(peer), peer.family) is None
            ):
                policies = (policy for tier in ruling.tiers for policy in tier.policies)
                return self._address(policies, direction, subject, peer)
        return None

    def _open_requirement(self, pods: Selector | None, end: PodEnd) -> Requirement | None:
        labels = _labels(end)
        terms = pods.requirements if pods else ()
        return next((term for term in terms if may_hold(term, labels, whole=not end.more) is None), None)

    def _open_space(self, selection: Selection, end: PodEnd) -> str | None:
        """Return the key of a label that a selection asks of an end's namespace and that is not known."""
        if selection.namespaces is None or not self._engine.world.has_unknown_labels(end.member.namespace):
            return None
        known = self._space(end)
        terms = selection.namespaces.requirements
        return next((term.key for term in terms if may_hold(term, known, whole=False) is None), None)

    def _peer_label(self, selection: Selection, subject: PodEnd, peer: PodEnd) -> _Open:
        key = self._open_space(selection, peer)
        if key is not None:
            return self._space_label(key, peer.member.namespace, subject, peer)
        asked = self._open_requirement(selection.pods, peer)
        if asked is None:
            raise AssertionError(f"{selection} is open for {peer}, and nothing of it is")
        return self._pod_label(asked, subject, peer, at_subject=False)

    def _space_label(self, key: str, name: str, subject: PodEnd, peer: End) -> _Open:
        """Suppose a label of a namespace, which may be that of both ends."""
        asked = (selection.namespaces for selection in self._selections(subject, peer))
        cases = []
        for text, value in _cells(key, _values(asked, (key,))):
            ends = [
                replace(end, space={**self._space(end), key: value})
                if isinstance(end, PodEnd) and end.member.namespace == name
                else end
                for end in (subject, peer)
            ]
            cases.append(_Case(text, *ends))
        return _Open(unknown.namespace_labels(name), tuple(cases), frozenset((key,)))

    def _pod_label(self, asked: Requirement, subject: PodEnd, peer: End, *, at_subject: bool) -> _Open:
        """Suppose a label of the subject or of the peer, with those that have the same value."""
        end = subject if at_subject else peer
        if not isinstance(end, PodEnd):
            raise TypeError(f"{end} has no labels")
        keys = next((group for group in ALIKE if asked.key in group), frozenset((asked.key,)))
        there = {key: value for key, value in end.member.labels.items() if key in keys and is_unknown(value)}
        begins = min(there.values(), default="").removesuffix(UNKNOWN)
        written = _values((selection.pods for selection in self._selections(subject, peer)), there or keys)
        cases = []
        for text, value in _cells(asked.key, {value for value in written if value.startswith(begins)}):
            if value is None and there:
                continue
            supposed = replace(end, labels={**_labels(end), **dict.fromkeys(there or (asked.key,), value)})
            cases.append(_Case(text, supposed, peer) if at_subject else _Case(text, subject, supposed))
        what = _backends(end) if end.more else unknown.label(asked.key, _name(end))
        return _Open(what, tuple(cases), frozenset(there or (asked.key,)))

    def _space(self, end: PodEnd) -> Supposed:
        return self._engine.state.labels_of_namespace(end.member.namespace) if end.space is None else end.space

    def _selections(self, subject: End, peer: End) -> Iterator[Selection]:
        """Yield all selections of the policies of both ends' namespaces."""
        for name in {end.member.namespace for end in (subject, peer) if isinstance(end, PodEnd)}:
            for policy in self._engine.policies_over(name):
                yield policy.subject
                for grants in policy.grants.values():
                    yield from (grant.peer for grant in grants if isinstance(grant.peer, Selection))

    def _address(
        self, policies: Iterable[CompiledPolicy], direction: Direction, subject: PodEnd, peer: PodEnd | NodeEnd
    ) -> _Open:
        """Suppose the peer's address, in each of the ranges that blocks tell apart."""
        pieces = [("", self._engine.world.unset_addresses(kind_of(peer), peer.family))]
        for policy in policies:
            for grant in policy.grants[direction]:
                if isinstance(grant.peer, AddressSet):
                    pieces = [piece for item in pieces for piece in _cut(*item, grant.peer)]
        if isinstance(peer, PodEnd):
            what = _backends(peer) if peer.more else unknown.address(_name(peer))
        else:
            what = unknown.node_address(peer.name)
        # Those in no block are told last.
        cases = [_Case(text, subject, replace(peer, address=piece.spans[0][0])) for text, piece in reversed(pieces)]
        cases.sort(key=lambda case: not case.value)
        return _Open(what, tuple(cases))


def _whose_node(subject: PodEnd, peer: NodeEnd) -> _Open:
    cases = (
        _Case("the same node" if own else "another node", subject, replace(peer, own=own)) for own in (True, False)
    )
    return _Open(unknown.node(_name(subject)), tuple(cases))


def _labels(end: PodEnd) -> Supposed:
    return end.member.labels if end.labels is None else end.labels


def _name(end: PodEnd) -> str:
    return display_name(end.member.owner)


def _backends(end: PodEnd) -> Dependency:
    if end.member.key.kind == "Pod":
        return unknown.unread_pod(display_name(end.member.key))
    if end.member.key.kind == ENDPOINT:
        return unknown.unread_endpoint(end.member.namespace, end.member.key.name)
    return unknown.backends(f"{end.member.namespace}/{end.member.key.name}")


def _values(selectors: Iterable[Selector | None], keys: Collection[str]) -> set[str]:
    """Return the values that selectors name for labels with one of the keys."""
    terms = (term for selector in selectors if selector for term in selector.requirements)
    return {value for term in terms if term.key in keys for value in term.values}


def _cells(key: str, values: set[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the values of a label that selectors can tell apart, in words; None is without the label."""
    yield from ((f"{key}={value}", value) for value in sorted(values))
    yield f"{key}={_OTHER}", _OTHER
    yield f"no label {key}", None


def _cut(text: str, piece: AddressSet, block: AddressSet) -> Iterator[tuple[str, AddressSet]]:
    inside = piece & block
    if inside == piece or not inside:
        yield text, piece
        return
    yield text, piece - inside
    yield ", ".join(str(item) for item in block.blocks()), inside


def _same(one: Dependency, other: Dependency) -> bool:
    return (one.what, one.text) == (other.what, other.text)


def _merged(
    unread: tuple[Dependency, ...], weighed: tuple[Dependency, ...], answers: list[tuple[str, Extent]]
) -> tuple[Dependency, ...]:
    """Return each thing once: what was not read, what was taken apart, and what its cases rest on."""
    found: dict[tuple[object, str], Dependency] = {}
    for item in (*unread, *weighed, *(item for _, answer in answers for item in answer.rests_on)):
        found.setdefault((item.what, item.text), item)
    return tuple(found.values())
