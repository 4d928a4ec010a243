# SPDX-License-Identifier: Apache-2.0
"""The engine that lives: state, policies and classes kept in step with events.

`apply` costs what the event touches. Its answer, a `Change`, names the classes whose reach may
differ, so that whoever compiled something from them compiles only that again.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from podfence.cluster.classes import ClassIndex
from podfence.cluster.selection import Selection
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, members

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.cluster.members import Member
    from podfence.cluster.state import Delta, Event
    from podfence.kube.objects import Key
    from podfence.policy.engine import Engine
    from podfence.policy.grants import CompiledPolicy


class Change(Struct, frozen=True):
    """What an event changed.

    `pods` came, went, or are told apart differently now. `policies` are those whose rules, subjects or
    peers changed. `ingress` and `egress` are the classes (numbers) whose reach in that direction may
    differ; classes that ceased to be are not among them.
    """

    event: Event
    pods: frozenset[Key]
    policies: frozenset[Key]
    ingress: frozenset[int]
    egress: frozenset[int]


class _Use(NamedTuple):
    """What a selection is to a policy: the directions in which it is its subject, and those in which it is a peer."""

    subject: tuple[Direction, ...]
    peer: tuple[Direction, ...]


class Model:
    """A cluster state, its engine, and the index of classes, following events together."""

    def __init__(self, engine: Engine) -> None:
        """Index the engine's state: every class and selection that its policies use."""
        self.engine = engine
        self.state = state = engine.state
        self._users: dict[Selection, dict[CompiledPolicy, _Use]] = defaultdict(dict)
        # Most blocks have one user, which may have ten thousand: those blocks share a mapping, and it is not changed.
        self._block_users: dict[AddressSet, dict[CompiledPolicy, tuple[Direction, ...]]] = {}
        self._blocks_at: dict[int | None, tuple[AddressSet, ...]] = {}
        policies = [policy for name in state.namespaces for policy in self.engine.policies(name)]
        policies += engine.clusterwide
        self.index = class_index(engine, map(looked_at, policies))
        for policy in policies:
            self._use(policy)

    def _use(self, policy: CompiledPolicy) -> None:
        alone: dict[tuple[Direction, ...], dict[CompiledPolicy, tuple[Direction, ...]]] = {}
        for peer, use in _uses(policy).items():
            if isinstance(peer, Selection):
                self._users[peer][policy] = use
                self.index.bits(peer)
                continue
            users = self._block_users.get(peer)
            if users is None:
                self._block_users[peer] = alone.setdefault(use.peer, {policy: use.peer})
            elif len(users) == 1:
                self._block_users[peer] = {**users, policy: use.peer}
            else:
                users[policy] = use.peer
            self._blocks_at.clear()

    def _disuse(self, policy: CompiledPolicy) -> None:
        for peer in _uses(policy):
            if isinstance(peer, AddressSet):
                if len(self._block_users[peer]) == 1:
                    del self._block_users[peer]
                else:
                    del self._block_users[peer][policy]
                self._blocks_at.clear()
            else:
                del self._users[peer][policy]
                if not self._users[peer]:
                    del self._users[peer]
                    self.index.forget(peer)

    def apply(self, event: Event, *more: Event) -> Change:
        """Take an event in, and others after it, and say what all of them changed; the result is that of a fresh load.

        The policies of a namespace cost as much for many events as for one of them. The change names the last event.
        """
        delta = self.state.apply(event)
        for event in more:  # noqa: PLR1704  the last of them is named
            delta.follow(self.state.apply(event))
        touched: dict[Direction, int] = dict.fromkeys(Direction, 0)
        changed: set[CompiledPolicy] = set()
        pods: set[Key] = set()
        self.index.take_changes()
        self._follow_namespaces(delta)
        self._follow_members(delta, touched, changed, pods)
        self._follow_policies(delta, touched, changed, pods)
        for name in delta.namespaces:
            if name not in self.state.namespaces:
                self.engine.forget(name)
        for selection, bits in self.index.take_changes().items():
            users = self._users.get(selection, {})
            changed.update(users)
            for policy, use in users.items():
                for direction in use.subject:
                    touched[direction] |= bits
                for direction in use.peer:
                    touched[direction] |= self.index.bits(policy.subject)
        return Change(
            event,
            frozenset(pods),
            frozenset([policy.key for policy in changed]),
            *(
                frozenset(members(touched[direction] & self.index.all))
                for direction in (Direction.INGRESS, Direction.EGRESS)
            ),
        )

    def _follow_namespaces(self, delta: Delta) -> None:
        for name in delta.namespaces:
            namespace = self.state.namespaces.get(name)
            self.index.put_namespace(name, namespace.labels if namespace else None)

    def _follow_members(
        self, delta: Delta, touched: dict[Direction, int], changed: set[CompiledPolicy], pods: set[Key]
    ) -> None:
        classes: set[int] = set()
        for member in delta.removed:
            if self.engine.is_judged(member):
                pods.add(member.key)
                self._follow_blocks(member, touched, changed)
                self.index.remove(member.key)
        for member in delta.added:
            if self.engine.is_judged(member):
                pods.add(member.key)
                self._follow_blocks(member, touched, changed)
                classes |= self.index.add(member)
        for number in classes:
            for direction in Direction:
                touched[direction] |= 1 << number

    def _follow_blocks(self, member: Member, touched: dict[Direction, int], changed: set[CompiledPolicy]) -> None:
        """Note the policies whose address blocks hold a pod that comes or goes, or may hold it."""
        cells: set[int | None] = {self.index.cell(number) for number in member.addresses}
        for block in {block for cell in cells or {None} for block in self._blocks_holding(cell)}:
            for policy, directions in self._block_users[block].items():
                changed.add(policy)
                for direction in directions:
                    touched[direction] |= self.index.bits(policy.subject)

    def _blocks_holding(self, cell: int | None) -> tuple[AddressSet, ...]:
        """Return the blocks in use that hold an elementary range, or may hold an address that is not known (None)."""
        found = self._blocks_at.get(cell)
        if found is None:
            holds = self._may_hold_unknown if cell is None else lambda block: cell in block
            found = self._blocks_at[cell] = tuple(filter(holds, self._block_users))
        return found

    def _may_hold_unknown(self, block: AddressSet) -> bool:
        families = self.engine.assumed_families()
        wholes = [AddressSet.of_family(family) for family in families]
        return any(block & whole if self.engine.world else whole <= block for whole in wholes)

    def _follow_policies(
        self, delta: Delta, touched: dict[Direction, int], changed: set[CompiledPolicy], pods: set[Key]
    ) -> None:
        for name in delta.policies:
            before = set(self.engine.forget(name))
            fresh = self.engine.policies(name)
            equal = {_identity(policy): policy for policy in before.difference(fresh)}
            compiled = tuple(policy if policy in before else equal.get(_identity(policy), policy) for policy in fresh)
            self.engine.keep(name, compiled)
            gone = before.difference(compiled)
            come = set(compiled).difference(before)
            for policy in gone:
                self._note_subjects(policy, touched)
                self._disuse(policy)
                self.index.look_away(*looked_at(policy))
            split: set[int] = set()
            for policy in come:
                split |= self.index.look_at(*looked_at(policy))
            for number in split:
                pod_class = self.index.classes.get(number)
                pods.update(pod_class.members if pod_class else ())
                for direction in Direction:
                    touched[direction] |= 1 << number
            for policy in come:
                self._use(policy)
                self._note_subjects(policy, touched)
            changed |= gone | come
        if not delta.policies:
            return
        joined = self.index.tidy()
        pods |= joined.pods
        for number in joined.classes:
            for direction in Direction:
                touched[direction] |= 1 << number

    def _note_subjects(self, policy: CompiledPolicy, touched: dict[Direction, int]) -> None:
        for direction in policy.grants:
            touched[direction] |= self.index.bits(policy.subject)


def _identity(policy: CompiledPolicy) -> object:
    return id(policy.source), policy.subject, policy.refused, tuple(policy.grants.items())


def _uses(policy: CompiledPolicy) -> dict[Selection | AddressSet, _Use]:
    """Return what a policy uses, its subject and the peers of its rules, with what each is to it."""
    peers: dict[Selection | AddressSet, dict[Direction, None]] = {policy.subject: {}}
    for direction, grants in policy.grants.items():
        for grant in grants:
            if grant.peer is not None:
                peers.setdefault(grant.peer, {})[direction] = None
    return {
        peer: _Use(tuple(policy.grants) if peer == policy.subject else (), tuple(directions))
        for peer, directions in peers.items()
    }


def class_index(engine: Engine, looks: Iterable[tuple[set[str], set[str], set[int]]]) -> ClassIndex:
    """Return the classes of all pods that are judged, told apart by what is looked at (see `looked_at`)."""
    index = ClassIndex({name: item.labels for name, item in engine.state.namespaces.items()})
    for look in looks:
        index.look_at(*look)
    for member in engine.state.members.values():
        if engine.is_judged(member):
            index.add(member)
    return index


def looked_at(*policies: CompiledPolicy) -> tuple[set[str], set[str], set[int]]:
    """Return the label keys, port names and address cuts that policies look at."""
    selections = [policy.subject for policy in policies]
    blocks: set[AddressSet] = set()
    names: set[str] = set()
    for grants in [grants for policy in policies for grants in policy.grants.values()]:
        for grant in grants:
            if isinstance(grant.peer, Selection):
                selections.append(grant.peer)
            elif isinstance(grant.peer, AddressSet):
                blocks.add(grant.peer)
            names.update(name for name, _ in grant.names)
    keys = {item.key for selection in selections if selection.pods for item in selection.pods.requirements}
    return keys, names, {cut for block in blocks for cut in block.cuts()}
