# SPDX-License-Identifier: Apache-2.0
"""The kinds podfence reads as the API serves them: paths, and the older versions where the current one is unknown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.kube.findings import Severity, unreadable
from podfence.kube.registry import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.kube.findings import Finding


class Resource(NamedTuple):
    """A kind as one version of the API serves it; `plural` is its name in paths and in permissions."""

    kind: str
    api_version: str
    plural: str
    namespaced: bool

    @property
    def path(self) -> str:
        """The path of all objects of the kind, in all namespaces."""
        return f"{version_path(self.api_version)}/{self.plural}"


def version_path(api_version: str) -> str:
    """Return the path of an API version: the oldest group has no name, and a place of its own."""
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def not_permitted(resource: Resource, name: str, unknown: str) -> Finding:
    """Return the warning that a kind may not be listed; `unknown` says what the answer lacks, in words after it."""
    message = f"may not be listed, so the answer {unknown}"
    group = resource.api_version.rpartition("/")[0]
    rule = f'{{apiGroups: ["{group}"], resources: ["{resource.plural}"], verbs: ["list"]}}'
    return unreadable(name, message, f"grant it with a ClusterRole rule: {rule}", severity=Severity.WARNING)


RESOURCES: Final[Mapping[str, Resource]] = {
    name: Resource(name, kind.current, kind.plural, kind.namespaced) for name, kind in KINDS.items()
}
"""Every kind of `KINDS` in its current version."""


def versions(kind: str) -> Iterator[Resource]:
    """Yield a kind in all the versions that servers have had, the current one first."""
    for version in KINDS[kind].versions:
        yield RESOURCES[kind]._replace(api_version=version)
