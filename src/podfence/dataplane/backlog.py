# SPDX-License-Identifier: Apache-2.0
"""The part of a costly change of policies that is compiled later, in slices: pods, and groups of pods.

Until its slice, a pod stays in the group that it was in, and the kernel enforces that group's earlier program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from podfence.dataplane.program import GroupKey
    from podfence.kube.objects import Key
    from podfence.policy.verdict import Direction


class Backlog:
    """Local pods that may belong to other groups, groups that have to be compiled again, and the policies changed."""

    def __init__(self) -> None:
        """Wait for nothing."""
        self._pods: dict[Key, None] = {}
        self._groups: dict[GroupKey, int] = {}
        self._policies: set[Key] = set()

    def __bool__(self) -> bool:
        """Return whether anything waits."""
        return bool(self._pods or self._groups)

    @property
    def policies(self) -> AbstractSet[Key]:
        """The policies of which not all is compiled yet."""
        return self._policies if self else frozenset()

    def add(self, pods: Iterable[Key], groups: Iterable[GroupKey], policies: Collection[Key], classes: int) -> None:
        """Let pods and groups wait because of some policies, by which pods came into other `classes` (bits)."""
        if not self:
            self._policies.clear()
        self._pods.update(dict.fromkeys(pods))
        for group in (*groups, *self._groups):
            self._groups[group] = self._groups.get(group, 0) | classes
        self._policies.update(policies)

    @property
    def lists(self) -> set[GroupKey]:
        """The groups that list pods by classes which these are not in any more."""
        return {group for group, classes in self._groups.items() if classes}

    def pods_of(self, groups: AbstractSet[GroupKey], groups_of: Mapping[Key, Mapping[Direction, GroupKey]]) -> set[Key]:
        """Return the pods that wait in some groups: the policies of these may not exist any more."""
        return {pod for pod in self._pods if not groups.isdisjoint(groups_of.get(pod, {}).values())}

    def next_pod(self) -> Key | None:
        """Take the pod out whose turn it is, if there is one."""
        pod = next(iter(self._pods), None)
        if pod is not None:
            del self._pods[pod]
        return pod

    def next_group(self) -> GroupKey:
        """Return the group whose turn it is; there must be one."""
        return next(iter(self._groups))

    def drop(self, pods: Iterable[Key]) -> None:
        """Let pods wait no longer."""
        for pod in pods:
            self._pods.pop(pod, None)

    def waiting(self, groups: AbstractSet[GroupKey]) -> set[GroupKey]:
        """Return those of some groups that wait."""
        return groups & self._groups.keys()

    def take(self, group: GroupKey) -> int:
        """Let a group wait no longer, if it does; return the classes (bits) that it listed differently."""
        return self._groups.pop(group, 0)
