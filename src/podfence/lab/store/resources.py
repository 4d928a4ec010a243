# SPDX-License-Identifier: Apache-2.0
"""The resources that a lab serves, one row each: discovery, the store and its controllers read this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from podfence.kube.registry import KINDS, LEGACY_POLICY, Kind, kept
from podfence.kube.validation.names import path_segment


class Resource(NamedTuple):
    """One resource.

    `has_status` and `has_scale` say which subresources it has, `has_generation` that its objects count the changes of
    their spec. `first_status` is that of a new object. `stored_as` is the key of the resource whose objects these are
    in another version, "" for its own. With `made_by_put` an update makes an object that does not exist yet. A request
    for the status changes the metadata too, but for `kept_by_status`.
    """

    kind: str
    plural: str
    api_version: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    categories: tuple[str, ...] = ()
    has_status: bool = False
    has_scale: bool = False
    has_generation: bool = False
    first_status: Mapping[str, Any] = {}
    stored_as: str = ""
    made_by_put: bool = False
    kept_by_status: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The API group, "" for the core."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        """The version inside the group."""
        return self.api_version.rpartition("/")[2]

    @property
    def table(self) -> str:
        """The key of the resource as which a store has the objects."""
        return self.stored_as or self.key

    @property
    def singular(self) -> str:
        """The name of one object."""
        return self.kind.lower()

    @property
    def key(self) -> str:
        """The name with its group, as the store and the API server's messages have it: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


_RUNS: Final[Mapping[str, Any]] = {"categories": ("all",), "has_status": True, "has_generation": True}
_SCALES: Final[Mapping[str, Any]] = {**_RUNS, "has_scale": True}
_BALANCED: Final[Mapping[str, Any]] = {"loadBalancer": {}}
_COUNTED: Final[Mapping[str, Any]] = {"replicas": 0}
_SCHEDULED: Final = dict.fromkeys(
    ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"), 0
)
_WAITS: Final[Mapping[str, Any]] = {"phase": "Pending", "qosClass": "BestEffort"}
_POLICIES: Final = "networkpolicies.networking.k8s.io"
_RBAC: Final = "rbac.authorization.k8s.io/v1"

KEPT: Final = (
    kept("ConfigMap", "configmaps", "v1", ("cm",)),
    kept("Secret", "secrets", "v1"),
    kept("ServiceAccount", "serviceaccounts", "v1", ("sa",)),
    kept("Role", "roles", _RBAC, name_rule=path_segment),
    kept("RoleBinding", "rolebindings", _RBAC, name_rule=path_segment),
    kept("ClusterRole", "clusterroles", _RBAC, name_rule=path_segment, namespaced=False),
    kept("ClusterRoleBinding", "clusterrolebindings", _RBAC, name_rule=path_segment, namespaced=False),
)
"""The kinds that are kept, since manifests hold them, and do nothing."""

READ: Final[Mapping[str, Kind]] = {**KINDS, **{row.name: row for row in KEPT}}
"""The kinds of manifests that a lab takes."""


SERVED: Final[Mapping[str, Kind]] = {**READ, "Event": kept("Event", "events", "v1", ("ev",))}
"""The kinds that a lab serves: events too, of which it takes no manifests."""


def _known(kind: str) -> Resource:
    """Return what is known of a resource because of its kind."""
    row = SERVED[kind]
    return Resource(kind, row.plural, row.current, row.short, row.namespaced)


RESOURCES: Final[Mapping[str, Resource]] = {
    row.key: row
    for row in (
        _known("Namespace")._replace(has_status=True, first_status={"phase": "Active"}),
        _known("Node")._replace(has_status=True),
        _known("Pod")._replace(**_RUNS, first_status=_WAITS, kept_by_status=("ownerReferences",)),
        _known("Service")._replace(categories=("all",), has_status=True, first_status=_BALANCED, made_by_put=True),
        _known("Endpoints")._replace(made_by_put=True),
        _known("ReplicationController")._replace(**_SCALES, first_status=_COUNTED),
        _known("ConfigMap"),
        _known("Secret"),
        _known("ServiceAccount"),
        _known("Event")._replace(made_by_put=True),
        _known("Deployment")._replace(**_SCALES, kept_by_status=("labels",)),
        _known("ReplicaSet")._replace(**_SCALES, first_status=_COUNTED),
        _known("StatefulSet")._replace(**_SCALES, first_status={**_COUNTED, "availableReplicas": 0}),
        _known("DaemonSet")._replace(**_RUNS, first_status=_SCHEDULED),
        _known("Job")._replace(**_RUNS),
        _known("CronJob")._replace(**_RUNS),
        _known("EndpointSlice")._replace(has_generation=True),
        _known("NetworkPolicy")._replace(has_generation=True),
        _known("Ingress")._replace(has_status=True, has_generation=True, first_status=_BALANCED),
        _known("NetworkPolicy")._replace(has_generation=True, api_version=LEGACY_POLICY, stored_as=_POLICIES),
        _known("Role")._replace(made_by_put=True),
        _known("RoleBinding")._replace(made_by_put=True),
        _known("ClusterRole")._replace(made_by_put=True),
        _known("ClusterRoleBinding")._replace(made_by_put=True),
    )
}
"""The resources by key, in the order of discovery: the core first, then group by group."""
