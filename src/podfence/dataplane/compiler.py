# SPDX-License-Identifier: Apache-2.0
"""From the engine's classes and policies to one node's program, and what an event changes in it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, TypeVar

from podfence.dataplane.groups import Compiled, compile_group
from podfence.dataplane.ownership import Ownership
from podfence.dataplane.program import GroupKey, NodeProgram, ProgramChange, SharedKey
from podfence.errors import OptionError
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet
from podfence.sets.addresses import family_of
from podfence.sets.spans import normalize

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from podfence.cluster.classes import PodClass
    from podfence.cluster.members import Member
    from podfence.kube.objects import Key
    from podfence.policy.grants import CompiledPolicy
    from podfence.policy.model import Change, Model
    from podfence.policy.options import Options

_K = TypeVar("_K")

SHARED_FROM: Final = 256
"""A set of pods with at least this many addresses is one set that all groups share, not part of each group's map."""

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

    def __init__(self, model: Model, node: str, *, shared_from: int = SHARED_FROM) -> None:
        """Compile everything once; `program` is the result. Raises OptionError (see `check_options`)."""
        self._shared_from = shared_from
        self.model = model
        self.node = node
        self._options = options = model.engine.options
        check_options(options)
        self.program = NodeProgram(judges_own_node=options.own_node_egress == "policy")
        self._owned = Ownership(model.index)
        self._local: set[Key] = set()
        self._groups_of: dict[Key, dict[Direction, GroupKey]] = {}
        self._compiled: dict[GroupKey, Compiled] = {}
        for pod_class in model.index.classes.values():
            for member in pod_class.members.values():
                self._take(member, pod_class.id)
        self._assign(self._local)
        for key in self._uses():
            self._compile(key)
        self._collect_sets()
        self._place()

    def follow(self, change: Change) -> ProgramChange:
        """Bring the program in step with the model after `Model.apply`; return what differs in it.

        Only groups are compiled again whose policies changed, or which list pods of a class that a changed
        pod is, or was, in.
        """
        classes = self._follow_pods(change.pods)
        concerned = {key for key in self._local if self._owned.class_of[key] in change.ingress | change.egress}
        concerned |= self._local & change.pods
        before, sets = dict(self.program.groups), self.program.sets
        self._assign(concerned)
        self._recompile(change, classes)
        self._collect_sets()
        return ProgramChange(
            _differing(before, self.program.groups), _differing(sets, self.program.sets), self._place()
        )

    # Pods

    def _take(self, member: Member, number: int) -> None:
        self._owned.take(member, number)
        if member.node == self.node and member.pod is not None:
            self._local.add(member.key)

    def _follow_pods(self, pods: Iterable[Key]) -> int:
        """Take changed pods out and in; return the classes (bits) whose addresses may differ now."""
        numbers: set[int] = set()
        for key in pods:
            numbers |= self._owned.claimants(key)
            self._owned.leave(key)
            self._local.discard(key)
        for key in pods:
            pod_class = self.model.index.class_of(key)
            if pod_class is not None:
                self._take(pod_class.members[key], pod_class.id)
                numbers |= self._owned.claimants(key)
        return self._owned.changed(numbers)

    # Groups

    def _assign(self, keys: Iterable[Key]) -> None:
        """Work out the groups of local pods."""
        known: dict[int, dict[Direction, GroupKey]] = {}
        for key in keys:
            number = self._owned.class_of[key]
            if number not in known:
                pod_class = self.model.index.classes[number]
                known[number] = {
                    direction: group
                    for direction in Direction
                    if (group := self._group_of(direction, pod_class)) is not None
                }
            self._groups_of[key] = known[number]
        for gone in self._groups_of.keys() - self._local:
            del self._groups_of[gone]

    def _group_of(self, direction: Direction, pod_class: PodClass) -> GroupKey | None:
        """Return the group of a class, None if no policy isolates it in a direction (semantics 2.1)."""
        index = self.model.index
        policies = [
            policy
            for policy in self.model.engine.policies(pod_class.namespace)
            if policy.isolates(direction) and index.bits(policy.subject) >> pod_class.id & 1
        ]
        if not policies:
            return None
        ports: set[tuple[str, str, int]] = set()
        if direction is Direction.INGRESS:
            names = {name for policy in policies for grant in policy.grants[direction] for name in grant.names}
            ports = {
                (name, protocol, number)
                for name, protocol, number, sidecar in pod_class.ports
                if (name, protocol) in names and not (sidecar and self._options.init_ports == "containers")
            }
        ordered = sorted(policies, key=_name)
        return GroupKey(direction, pod_class.namespace, tuple(map(_key, ordered)), tuple(sorted(ports)))

    def _uses(self) -> Counter[GroupKey]:
        return Counter(group for groups in self._groups_of.values() for group in groups.values())

    def _recompile(self, change: Change, classes: int) -> None:
        uses = self._uses()
        for gone in self._compiled.keys() - uses.keys():
            del self._compiled[gone], self.program.groups[gone]
        for key in uses:
            known = self._compiled.get(key)
            if (
                known is None
                or not change.policies.isdisjoint(key.policies)
                or known.peers & classes
                or (known.any_pod and change.pods)
            ):
                self._compile(key)

    def _compile(self, key: GroupKey) -> None:
        policies = {policy.source.key: policy for policy in self.model.engine.policies(key.namespace)}
        found = compile_group(
            key,
            [policies[item] for item in key.policies],
            self.model.index,
            self._options,
            self._owned,
            self._shared_from,
        )
        self._compiled[key] = found
        # An equal program stays the same object, so that what is made from it is not made again.
        if self.program.groups.get(key) != found.program:
            self.program.groups[key] = found.program

    def _collect_sets(self) -> None:
        before = self.program.sets
        found: dict[SharedKey, frozenset[int]] = {}
        self._owned.keep_pools({key for item in self._compiled.values() for key in item.pools})
        for item in self._compiled.values():
            for key, addresses in item.sets.items():
                found[key] = before[key] if before.get(key) == addresses else addresses
        self.program.sets = found

    # Local addresses

    def _place(self) -> frozenset[int]:
        """Write down the local addresses with their groups; return those for which anything differs."""
        program = self.program
        group_of: dict[Direction, dict[int, GroupKey]] = {direction: {} for direction in Direction}
        known: set[int] = set()
        own: set[tuple[int, int]] = set()
        for key in self._local:
            addresses = self._owned.of_pod(key)
            known.update(addresses)
            groups = self._groups_of[key]
            for direction, group in groups.items():
                group_of[direction].update(dict.fromkeys(addresses, group))
            if groups and self._options.hairpin == "allowed":
                own.update((a, b) for a in addresses for b in addresses if family_of(a) == family_of(b))
        pod_range = self._pod_range()
        changed = known ^ program.known | {number for pair in own ^ program.own for number in pair}
        changed |= {number for number, _ in set(pod_range.spans) ^ set(program.pod_range.spans)}
        for direction, table in group_of.items():
            before = program.group_of[direction]
            changed |= {number for number in table.keys() | before.keys() if table.get(number) != before.get(number)}
        program.group_of, program.known, program.own, program.pod_range = group_of, known, own, pod_range
        return frozenset(changed)

    def _pod_range(self) -> AddressSet:
        node = self.model.state.nodes.get(self.node)
        if node is None or not node.pod_cidrs:
            return AddressSet.EMPTY
        return AddressSet(normalize(span for cidr in node.pod_cidrs for span in AddressSet.cidr(cidr).spans))


def _differing(before: Mapping[_K, object], after: Mapping[_K, object]) -> frozenset[_K]:
    """Return the keys whose values came, went or are other objects; equal values are the same object here."""
    return frozenset(key for key in before.keys() | after.keys() if before.get(key) is not after.get(key))


def _name(policy: CompiledPolicy) -> tuple[str, str]:
    return policy.source.name, policy.source.key.kind


def _key(policy: CompiledPolicy) -> Key:
    return policy.source.key
