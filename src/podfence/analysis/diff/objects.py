# SPDX-License-Identifier: Apache-2.0
"""Objects of two clusters side by side: which were added and removed, which changed in what, and which only in text."""

from __future__ import annotations

from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from podfence.analysis.diff.answer import ObjectChange
from podfence.analysis.diff.rules import differing
from podfence.cluster.ownership import top_workload, workload_of
from podfence.kube.objects import Key, KubeObject, NetworkPolicy, Pod, Rule
from podfence.policy.references import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from podfence.analysis.diff.answer import ObjectWord
    from podfence.cluster.state import ClusterState

_WRITTEN = {"template": "", "node_addresses": "node addresses", "policy_types": "policyTypes"}


class Pair(Struct, frozen=True):
    """One object on both sides, None on the side that does not have it."""

    old: KubeObject | None
    new: KubeObject | None

    @property
    def differs(self) -> bool:
        """Whether what is read of the object differs, and not only how it is written."""
        return self.old is None or self.new is None or not is_same(self.old, self.new)


def pairs(old: ClusterState, new: ClusterState) -> dict[Key, Pair]:
    """Return the objects that are on one side only, or differ in what is read of them or in how they are written.

    ReplicaSets and pods that a workload has made are left out: the workload tells of them.
    """
    found: dict[Key, Pair] = {}
    before, after = _objects(old), _objects(new)
    for key, one in before.items():
        other = after.get(key)
        if other is None or not _is_equal(one, other):
            found[key] = Pair(one, other)
    found.update((key, Pair(None, other)) for key, other in after.items() if key not in before)
    return found


def is_same(one: KubeObject, other: KubeObject) -> bool:
    """Return whether all that is read of two objects is equal."""
    if one is other or type(one) is not type(other):
        return one is other
    read = _reader(type(one))
    return bool(read(one) == read(other))


@cache
def _reader(kind: type[KubeObject]) -> Callable[[KubeObject], object]:
    """Return what reads all fields of an object of a kind but its place."""
    return attrgetter(*(name for name in kind.__struct_fields__ if name != "origin"))


def changes(found: Mapping[Key, Pair]) -> tuple[ObjectChange, ...]:
    """Return objects that differ as an answer tells them, in order of kind and name."""
    return tuple(_change(key, found[key]) for key in sorted(found))


def _change(key: Key, pair: Pair) -> ObjectChange:
    details = what(pair)
    change: ObjectWord = "changed" if details else "text"
    if pair.old is None or pair.new is None:
        change = "added" if pair.old is None else "removed"
    return ObjectChange(
        change=change,
        kind=key.kind,
        namespace=key.namespace,
        name=key.name,
        what=details,
        old=place(pair.old),
        new=place(pair.new),
    )


def what(pair: Pair) -> tuple[str, ...]:
    """Return what differs between the two versions of an object, in words; nothing if there is only one."""
    return tuple(_what(pair.old, pair.new)) if pair.old is not None and pair.new is not None else ()


def _objects(state: ClusterState) -> dict[Key, KubeObject]:
    found: dict[Key, KubeObject] = {}
    tables: tuple[Iterable[KubeObject], ...] = (
        (item for name, item in state.namespaces.items() if name not in state.implied),
        (policy for table in state.policies.values() for policy in table.values()),
        (item for key, item in state.workloads.items() if top_workload(item, state.workloads) == key),
        (pod for key, pod in state.pods.items() if not _is_owned(state, key, pod)),
        state.services.values(),
        state.nodes.values(),
    )
    for table in tables:
        found.update((item.key, item) for item in table)
    return found


def _is_owned(state: ClusterState, key: Key, pod: Pod) -> bool:
    member = state.members.get(key)
    return (member.workload if member is not None else workload_of(pod, state.workloads)) is not None


def _is_equal(one: KubeObject, other: KubeObject) -> bool:
    """Return whether two versions of an object are equal, as far as can be told also in their text."""
    if one is other:
        return True
    if not is_same(one, other):
        return False
    if one.origin is None or other.origin is None:
        return True
    before, after = one.origin.text(), other.origin.text()
    # Nobody keeps the text of a live object.
    return not (before and after) or before == after


def _what(one: KubeObject, other: KubeObject) -> Iterator[str]:
    """Yield what differs between two versions of an object, in words."""
    for name in one.__struct_fields__:
        before, after = getattr(one, name), getattr(other, name)
        if name == "origin" or before == after:
            continue
        if isinstance(one, NetworkPolicy) and name in ("ingress", "egress"):
            yield from _rules(name, before, after)
        else:
            yield from _field(name, before, after)


def _rules(direction: str, before: tuple[Rule, ...], after: tuple[Rule, ...]) -> Iterator[str]:
    for _, one, other in differing(before, after):
        number = (one or 0) if other is None else other
        verb = " added" if one is None else " removed" if other is None else ""
        yield f"{direction} rule {number + 1}{verb}"


def _field(name: str, before: Any, after: Any) -> Iterator[str]:  # noqa: ANN401  any field of any object
    if isinstance(before, msgspec.Struct) and type(before) is type(after) and name == "template":
        for inner in before.__struct_fields__:
            one, other = getattr(before, inner), getattr(after, inner)
            if one != other:
                yield from _field(inner, one, other)
    elif isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
        yield f"{_word(name)} {', '.join(keys)}"
    else:
        yield _word(name)


def _word(name: str) -> str:
    """Return a field's name as manifests write it."""
    if name in _WRITTEN:
        return _WRITTEN[name]
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))
