# SPDX-License-Identifier: Apache-2.0
"""From the engine's classes and policies to one node's program, and what an event changes in it."""

from __future__ import annotations

import math
import time
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, TypeVar

from podfence.dataplane.backlog import Backlog
from podfence.dataplane.enforceable import check_options
from podfence.dataplane.groups import MOST_LISTED, Compiled, compile_group
from podfence.dataplane.ownership import Ownership
from podfence.dataplane.pieces import Memo
from podfence.dataplane.places import Places
from podfence.dataplane.program import NOT_YET, GroupKey, NodeProgram, ProgramChange, SharedKey
from podfence.dataplane.ranges import Tables
from podfence.dataplane.references import References
from podfence.dataplane.subjects import Subjects
from podfence.kube.objects import Key, NetworkPolicy, Pod

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from collections.abc import Set as AbstractSet

    from podfence.cluster.members import Member
    from podfence.kube.objects import KubeObject
    from podfence.policy.model import Change, Model
    from podfence.policy.verdict import Direction

SHARED_FROM: Final = 256
"""A set of pods with at least this many addresses is one set that all groups share, not part of each group's map.

So are the blocks of a policy with at least as many spans of addresses.
"""

AT_ONCE: Final = 10_000
"""How many addresses come into shared sets at most with one change; the others follow in slices."""

SLICE: Final = 3_000
"""How many addresses a slice has."""

SLICE_TIME: Final = 0.03
"""Seconds of the processor after which no further pod or group comes into a slice; its transaction takes as long."""

FIRST_TIME: Final = 2.0
"""Seconds of the processor after which no further group is compiled at first; honest policies take less."""


class Compiler:
    """Keeps the program of one node in step with a model."""

    def __init__(
        self,
        model: Model,
        node: str,
        *,
        shared_from: int = SHARED_FROM,
        most_listed: int = MOST_LISTED,
        at_once: int = AT_ONCE,
        effort: Callable[[], float] = time.thread_time,
    ) -> None:
        """Compile everything once; `program` is the result. Raises OptionError (see `check_options`).

        What takes very long is left to `catch_up`: the pods that it is about are isolated until then, and admit
        nothing new (see `NOT_YET`). `effort` gives the seconds that the processor has worked for this thread.
        """
        self._shared_from = shared_from
        self._most_listed = most_listed
        self._at_once = at_once
        self._effort = effort
        self.model = model
        self.node = node
        self._options = options = model.engine.options
        check_options(options)
        self.program = NodeProgram(judges_own_node=options.own_node_egress == "policy")
        self._owned = Ownership(model.index)
        self._tables = Tables(shared_from)
        self._subjects = Subjects(model)
        self._local: set[Key] = set()
        self._groups_of: dict[Key, dict[Direction, GroupKey]] = {}
        self._compiled: dict[GroupKey, Compiled] = {}
        self._groups_with: dict[Key, set[GroupKey]] = {}
        self._group_users = References[GroupKey]()
        self._set_users = References[SharedKey]()
        self._pool_users = References[SharedKey]()
        self._room: float = math.inf
        self._backlog = Backlog()
        self._memo = Memo()
        for pod_class in model.index.classes.values():
            for member in pod_class.members.values():
                self._take(member, pod_class.id)
        self._assign(self._local)
        self._compile_first()
        self._places = Places(self.program, model, node, self._owned, self._groups_of)
        self._places.write({address for key in self._local for address in self._owned.members[key].addresses})
        self._places.write_nodes()

    def follow(
        self, change: Change, *, only: type[KubeObject] | None = None, later: AbstractSet[str] = frozenset()
    ) -> ProgramChange:
        """Bring the program in step with the model after `Model.apply`; return what differs in it.

        Where many addresses come into shared sets, `program.late` holds what `catch_up` has to bring.

        `only` is the kind of the objects that changed, if it is one. `later` are namespaces whose policies take long to
        compile: what changed only because of these is left to `catch_up` too. Each of their pods is in its earlier
        group until then.

        Only groups are compiled again whose policies changed, or which list pods of a class that a changed
        pod is, or was, in.
        """
        self._room = self._at_once
        self._memo = Memo()
        classes, addresses = self._follow_pods(change.pods)
        touched = change.ingress | change.egress
        ruled = {key for key in self._local if self._owned.class_of[key] in touched}
        moved = self._local & change.pods
        outdated, listing = self._ruled(change), self._listing(change, classes)
        if only is NetworkPolicy:
            # No pod has another address, so the sets and lists of groups can be as they are for a while.
            ruled |= moved
            moved = set()
            outdated |= listing
            listing = set()
        elif change.pods:
            listing |= self._backlog.lists
        put_off, groups = _of(later, ruled), _of(later, outdated)
        if later:
            self._backlog.add(put_off, groups, _of(later, change.policies), classes)
        outdated = outdated - groups | listing
        departed = change.pods - self._local
        self._backlog.drop(departed)
        concerned = ruled - put_off | moved
        concerned |= self._backlog.pods_of(outdated, self._groups_of)
        self._backlog.drop(concerned)
        gone = self._assign(concerned, departed)
        outdated |= self._to_compile(concerned)
        outdated.difference_update(gone)
        found = ProgramChange()
        self._compile(found, outdated, Memo(), classes)
        # Only now, for a set that goes on in another group keeps what is in it.
        self._drop(found, gone)
        addresses.update(address for key in concerned for address in self._owned.members[key].addresses)
        found.addresses |= self._places.write(addresses)
        if only is not Pod:
            found.addresses |= self._places.write_nodes()
        return found

    @property
    def is_behind(self) -> bool:
        """Whether `catch_up` has something to bring."""
        return bool(self._backlog or self.program.late)

    def catch_up(self) -> ProgramChange:
        """Bring a slice of what was left to be done; return what differs in the program.

        Pods and groups come first, then addresses in sets, each set in its turn.
        """
        self._room = SLICE
        if self._backlog:
            return self._slice()
        late, sets = self.program.late, self.program.sets
        found = ProgramChange()
        while late and self._room:
            key, addresses = next(iter(late.items()))
            del late[key]
            found.sets.add(key)
            self._fill(key, sets[key], addresses)
        return found

    def _slice(self) -> ProgramChange:
        """Compile what waits, pods before groups, until that has taken long enough."""
        backlog, until = self._backlog, self._effort() + SLICE_TIME
        found = ProgramChange()
        addresses: set[int] = set()
        gone: list[GroupKey] = []
        while backlog:
            pod = backlog.next_pod()
            if pod is None:
                keys = {backlog.next_group()}
                if keys.isdisjoint(self._group_users):
                    # Its pods are in other groups now, and its policies may not exist any more.
                    backlog.take(*keys)
                    continue
            else:
                gone += self._assign([pod])
                keys = self._to_compile([pod])
                addresses.update(self._owned.members[pod].addresses)
            self._compile(found, keys, self._memo)
            if self._effort() >= until:
                break
        # Another pod may have come into a group that was empty for a moment.
        self._drop(found, [key for key in gone if key not in self._group_users])
        if not backlog:
            self._memo = Memo()
        found.addresses |= self._places.write(addresses)
        return found

    def late(self) -> set[Key]:
        """Return the policies of which not everything is in the program yet."""
        late, found = self.program.late.keys(), set(self._backlog.policies)
        if late:
            parts = (key.policies for key, known in self._compiled.items() if not late.isdisjoint(known.sets))
            found.update(chain.from_iterable(parts))
        return found

    def _fill(self, key: SharedKey, before: frozenset[int], addresses: frozenset[int]) -> None:
        """Let a set have other addresses, as many new ones as there is room for; what is left is late."""
        missing = len(addresses) - len(before & addresses)
        if missing > self._room:
            there = before & addresses
            self.program.late[key] = addresses
            addresses = there | set(islice(addresses - there, int(self._room)))
            missing = int(self._room)
        else:
            self.program.late.pop(key, None)
        self._room -= missing
        self.program.sets[key] = addresses

    # Pods

    def owner(self, address: int) -> Key | None:
        """Return the pod of the cluster that owns an address, if any."""
        return self._owned.owner(address)

    def claimed(self, pods: Iterable[Key]) -> set[int]:
        """Return the addresses that pods claim, whether theirs or not; none for those that are not known."""
        known = self._owned.members
        return {address for key in pods if key in known for address in known[key].addresses}

    def _take(self, member: Member, number: int) -> None:
        self._owned.take(member, number)
        if member.node == self.node and member.pod is not None:
            self._local.add(member.key)

    def _follow_pods(self, pods: Iterable[Key]) -> tuple[int, set[int]]:
        """Take changed pods out and in; return the classes (bits) and the addresses that may be another's now."""
        affected: set[Key] = set()
        numbers: set[int] = set()
        addresses: set[int] = set()
        for key in pods:
            affected |= self._owned.claimants(key)
        for key in affected:
            numbers.add(self._owned.class_of[key])
            addresses.update(self._owned.members[key].addresses)
        for key in pods:
            self._owned.leave(key)
            self._local.discard(key)
        for key in pods:
            pod_class = self.model.index.class_of(key)
            if pod_class is not None:
                self._take(pod_class.members[key], pod_class.id)
        for key in pods:
            for claimant in self._owned.claimants(key):
                numbers.add(self._owned.class_of[claimant])
                addresses.update(self._owned.members[claimant].addresses)
        return self._owned.changed(numbers), addresses

    # Groups

    def _compile_first(self) -> None:
        """Compile groups, those with the least in their policies first, until that has taken long enough."""
        until, memo = self._effort() + FIRST_TIME, Memo()
        groups = sorted(self._group_users, key=self._cost)
        for place, key in enumerate(groups):
            if self._effort() >= until:
                left = groups[place:]
                self.program.groups.update(dict.fromkeys(left, NOT_YET))
                self._backlog.add((), left, set(chain.from_iterable(key.policies for key in left)), 0)
                return
            self._compile(ProgramChange(), [key], memo)

    def _cost(self, key: GroupKey) -> int:
        policies = self._subjects.policies(key.namespace)
        return sum(sum(policies[item].size) for item in key.policies)

    def _assign(self, keys: Collection[Key], departed: Iterable[Key] = ()) -> list[GroupKey]:
        """Work out the groups of local pods, and forget those of others; return the groups without pods now."""
        numbers = self._owned.class_of
        groups = self._subjects.groups({numbers[key] for key in keys})
        before: list[GroupKey] = []
        after: list[GroupKey] = []
        for key in keys:
            now = groups[numbers[key]]
            before += self._groups_of.get(key, {}).values()
            after += now.values()
            self._groups_of[key] = now
        for key in departed:
            before += self._groups_of.pop(key, {}).values()
        return self._group_users.move(before, after)

    def _ruled(self, change: Change) -> set[GroupKey]:
        """Return the groups of which a policy changed since they were compiled."""
        found = (self._groups_with[policy] for policy in self._groups_with.keys() & change.policies)
        return set().union(*found)

    def _listing(self, change: Change, classes: int) -> set[GroupKey]:
        """Return the groups that list pods which changed since they were compiled."""
        return {
            key
            for key, known in self._compiled.items()
            if known.peers & classes or (known.found.any_pod and change.pods)
        }

    def _to_compile(self, pods: Iterable[Key]) -> set[GroupKey]:
        """Return the groups of pods that are not compiled yet, or that wait for it."""
        groups = {key for pod in pods for key in self._groups_of[pod].values()}
        return self._backlog.waiting(groups) | {key for key in groups if key not in self._compiled}

    def _drop(self, found: ProgramChange, gone: Iterable[GroupKey]) -> None:
        """Forget groups without pods; those that were compiled, and the sets that went with them, are `found`."""
        for key in gone:
            known = self._compiled.pop(key, None)
            self._backlog.take(key)
            if self.program.groups.pop(key, None) is not None:
                found.groups.add(key)
            if known is None:
                continue
            for policy in key.policies:
                self._groups_with[policy].discard(key)
                if not self._groups_with[policy]:
                    del self._groups_with[policy]
            found.sets |= self._exchange(known, None)

    def _compile(self, found: ProgramChange, keys: Iterable[GroupKey], memo: Memo, classes: int = 0) -> None:
        """Compile groups; those that are another program now, and sets that came, went or changed, are `found`.

        `classes` (bits) may have other addresses than when they were compiled last.
        """
        for key in keys:
            policies = self._subjects.policies(key.namespace)
            known = self._compiled.get(key)
            now = compile_group(
                key,
                tuple(policies[item] for item in key.policies),
                self.model.index,
                self._options,
                self._owned,
                self._tables,
                self._shared_from,
                self._most_listed,
                known,
                classes | self._backlog.take(key),
                memo,
            )
            self._compiled[key] = now
            found.sets |= self._exchange(known, now)
            if known is None:
                for policy in key.policies:
                    self._groups_with.setdefault(policy, set()).add(key)
            # An equal program stays the same object, so that what is made from it is not made again.
            before = self.program.groups.get(key)
            if before is None or before is NOT_YET or not before.same_as(now.program, memo.equal):
                self.program.groups[key] = now.program
                found.groups.add(key)

    def _exchange(self, before: Compiled | None, after: Compiled | None) -> set[SharedKey]:
        """Let the sets of a group be those of another compilation of it; return which differ in the program."""
        old, new = before.sets if before else {}, after.sets if after else {}
        changed: set[SharedKey] = set()
        # What is equal as a whole is seen at once; there can be a thousand keys, which take long to hash.
        if old != new:
            sets, late = self.program.sets, self.program.late
            for key, addresses in new.items():
                known = late.get(key, sets.get(key))
                if known is not addresses and known != addresses:
                    self._fill(key, sets.get(key, frozenset()), addresses)
                    changed.add(key)
            for key in self._set_users.move(old, new):
                del sets[key]
                late.pop(key, None)
                changed.add(key)
        pools, wanted = before.pools if before else frozenset(), after.pools if after else frozenset()
        if pools != wanted:
            self._owned.drop_pools(self._pool_users.move(pools, wanted))
        return changed


_In = TypeVar("_In", Key, GroupKey)


def _of(namespaces: AbstractSet[str], items: Iterable[_In]) -> set[_In]:
    return {item for item in items if item.namespace in namespaces}
