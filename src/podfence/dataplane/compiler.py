# SPDX-License-Identifier: Apache-2.0
"""From the engine's classes and policies to one node's program, and what an event changes in it."""

from __future__ import annotations

import math
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from podfence.cluster.nodes import numbers_of
from podfence.dataplane.groups import MOST_LISTED, Compiled, compile_group
from podfence.dataplane.ownership import Ownership
from podfence.dataplane.pieces import Memo
from podfence.dataplane.program import GroupKey, NodeProgram, ProgramChange, SharedKey
from podfence.dataplane.ranges import Tables
from podfence.dataplane.references import References
from podfence.dataplane.subjects import Subjects
from podfence.errors import OptionError
from podfence.sets import AddressSet
from podfence.sets.addresses import family_of
from podfence.sets.spans import normalize

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from podfence.cluster.members import Member
    from podfence.kube.objects import Key, Node
    from podfence.policy.model import Change, Model
    from podfence.policy.options import Options
    from podfence.policy.verdict import Direction

SHARED_FROM: Final = 256
"""A set of pods with at least this many addresses is one set that all groups share, not part of each group's map.

So are the blocks of a policy with at least as many spans of addresses.
"""

AT_ONCE: Final = 10_000
"""How many addresses come into shared sets at most with one change; the others follow in slices."""

SLICE: Final = 3_000
"""How many addresses a slice has."""

_ADDRESSES: Final = "the kernel matches an address, whoever has it"
_REFUSED: Final = {
    "ip_block_pods": ("never", _ADDRESSES),
    "ip_block_nodes": ("never", _ADDRESSES),
    "host_network": ("pod", "pods of a node's own network have its address, and policies cannot tell them apart"),
    "self_traffic": ("policy", "what a pod sends to itself never leaves it"),
}
_DECIDED: Final = ("hairpin", "own_node_egress", "icmp", "ip_block_pods", "ip_block_nodes")


def check_options(options: Options) -> None:
    """Raise OptionError if an option has a value that a kernel cannot be programmed for."""
    for name, (value, reason) in _REFUSED.items():
        if getattr(options, name) == value:
            message = f"option {name}={value} can be asked about and not enforced: {reason}"
            raise OptionError(message)
    for name in _DECIDED:
        if getattr(options, name) == "depends":
            message = f"option {name}=depends can be asked about and not enforced: a packet passes or it does not"
            raise OptionError(message)


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
    ) -> None:
        """Compile everything once; `program` is the result. Raises OptionError (see `check_options`)."""
        self._shared_from = shared_from
        self._most_listed = most_listed
        self._at_once = at_once
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
        self._own: dict[int, set[tuple[int, int]]] = {}
        self._told: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self._group_users = References[GroupKey]()
        self._set_users = References[SharedKey]()
        self._pool_users = References[SharedKey]()
        self._room: float = math.inf
        for pod_class in model.index.classes.values():
            for member in pod_class.members.values():
                self._take(member, pod_class.id)
        self._assign(self._local)
        self._compile(self._group_users)
        self._place({address for key in self._local for address in self._owned.members[key].addresses})
        self._look_at_nodes()

    def follow(self, change: Change, *, pods_only: bool = False) -> ProgramChange:
        """Bring the program in step with the model after `Model.apply`; return what differs in it.

        Where many addresses come into shared sets, `program.late` holds what `catch_up` has to bring.

        `pods_only` says that no other objects than pods changed.

        Only groups are compiled again whose policies changed, or which list pods of a class that a changed
        pod is, or was, in.
        """
        self._room = self._at_once
        classes, addresses = self._follow_pods(change.pods)
        touched = change.ingress | change.egress
        concerned = {key for key in self._local if self._owned.class_of[key] in touched}
        concerned |= self._local & change.pods
        gone = self._assign(concerned, change.pods - self._local)
        found = self._compile(self._outdated(change, classes).difference(gone), classes)
        # Only now, for a set that goes on in another group keeps what is in it.
        groups, sets = self._drop(gone)
        addresses.update(address for key in concerned for address in self._owned.members[key].addresses)
        changed = self._place(addresses)
        if not pods_only:
            changed |= self._look_at_nodes()
        return ProgramChange(frozenset(groups | found[0]), frozenset(sets | found[1]), changed)

    def catch_up(self) -> ProgramChange:
        """Let a slice of what is late come into sets, each set in its turn; return what differs in the program."""
        late, sets = self.program.late, self.program.sets
        changed: set[SharedKey] = set()
        self._room = SLICE
        while late and self._room:
            key, addresses = next(iter(late.items()))
            del late[key]
            changed.add(key)
            self._fill(key, sets[key], addresses)
        return ProgramChange(frozenset(), frozenset(changed), frozenset())

    def late(self) -> set[Key]:
        """Return the policies of which not all that they admit is in the program yet."""
        late = self.program.late.keys()
        if not late:
            return set()
        found = (key.policies for key, known in self._compiled.items() if not late.isdisjoint(known.sets))
        return set(chain.from_iterable(found))

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

    def _outdated(self, change: Change, classes: int) -> set[GroupKey]:
        """Return the groups that have to be compiled: new ones, and those for which something changed."""
        result = {key for key in self._group_users if key not in self._compiled}
        for policy in self._groups_with.keys() & change.policies:
            result |= self._groups_with[policy]
        for key, known in self._compiled.items():
            if known.peers & classes or (known.any_pod and change.pods):
                result.add(key)
        return result

    def _drop(self, gone: Iterable[GroupKey]) -> tuple[set[GroupKey], set[SharedKey]]:
        """Forget groups without pods; return those that were compiled, and the sets that went with them."""
        dropped: set[GroupKey] = set()
        sets: set[SharedKey] = set()
        for key in gone:
            known = self._compiled.pop(key, None)
            if known is None:
                continue
            dropped.add(key)
            del self.program.groups[key]
            for policy in key.policies:
                self._groups_with[policy].discard(key)
                if not self._groups_with[policy]:
                    del self._groups_with[policy]
            sets |= self._exchange(known, None)
        return dropped, sets

    def _compile(self, keys: Iterable[GroupKey], classes: int = 0) -> tuple[set[GroupKey], set[SharedKey]]:
        """Compile groups; return those that are another program now, and the sets that came, went or changed.

        `classes` (bits) may have other addresses than when they were compiled last.
        """
        changed: set[GroupKey] = set()
        sets: set[SharedKey] = set()
        memo = Memo()
        for key in keys:
            policies = self._subjects.policies(key.namespace)
            known = self._compiled.get(key)
            found = compile_group(
                key,
                tuple(policies[item] for item in key.policies),
                self.model.index,
                self._options,
                self._owned,
                self._tables,
                self._shared_from,
                self._most_listed,
                known,
                classes,
                memo,
            )
            self._compiled[key] = found
            sets |= self._exchange(known, found)
            if known is None:
                for policy in key.policies:
                    self._groups_with.setdefault(policy, set()).add(key)
            # An equal program stays the same object, so that what is made from it is not made again.
            before = self.program.groups.get(key)
            if before is None or not before.same_as(found.program, memo.equal):
                self.program.groups[key] = found.program
                changed.add(key)
        return changed, sets

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

    # Local addresses

    def _place(self, addresses: Iterable[int]) -> frozenset[int]:
        """Write down whose the addresses are, and in which groups; return those for which anything differs."""
        program = self.program
        changed: set[int] = set()
        for address in addresses:
            owner = self._owned.owner(address)
            groups = self._groups_of.get(owner) if owner is not None else None
            differs = (groups is not None) != (address in program.known)
            if groups is None:
                program.known.discard(address)
            else:
                program.known.add(address)
            for direction, table in program.group_of.items():
                group = groups.get(direction) if groups else None
                differs |= table.get(address) != group
                if group is None:
                    table.pop(address, None)
                else:
                    table[address] = group
            own: set[tuple[int, int]] = set()
            if owner is not None and groups and self._options.hairpin == "allowed":
                family = family_of(address)
                own = {(address, other) for other in self._owned.of_pod(owner) if family_of(other) == family}
            before = self._own.pop(address, set())
            if before != own:
                differs = True
                program.own -= before
                program.own |= own
            if own:
                self._own[address] = own
            if differs:
                changed.add(address)
        node = self.model.state.nodes.get(self.node)
        pod_range = _pod_range([] if node is None else [node])
        changed |= _starts(pod_range, program.pod_range)
        program.pod_range = pod_range
        return frozenset(changed)

    def _look_at_nodes(self) -> frozenset[int]:
        """Write down the addresses of nodes and of their pods; return those for which anything differs."""
        program, nodes = self.program, self.model.state.nodes.values()
        told = [(node.addresses, node.pod_cidrs) for node in nodes]
        if told == self._told:
            return frozenset()
        self._told = told
        addresses = frozenset(number for node in nodes for number in numbers_of(node.addresses))
        pod_ranges = _pod_range(nodes)
        changed = addresses ^ program.nodes | _starts(pod_ranges, program.pod_ranges)
        program.nodes, program.pod_ranges = addresses, pod_ranges
        return changed


def _pod_range(nodes: Iterable[Node]) -> AddressSet:
    cidrs = (cidr for node in nodes for cidr in node.pod_cidrs)
    return AddressSet(normalize(span for cidr in cidrs for span in AddressSet.cidr(cidr).spans))


def _starts(one: AddressSet, other: AddressSet) -> set[int]:
    """Return where ranges begin that are only in one of two sets."""
    return {first for first, _ in set(one.spans) ^ set(other.spans)}
