# SPDX-License-Identifier: Apache-2.0
"""The kinds podfence reads, one row each: their names, how they are checked and built, and who needs them.

Every other table of kinds comes from here, so a new kind is one row, and its written shape in `kube.wire` or
`kube.wire_cluster`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from podfence.errors import nearest
from podfence.kube import convert, convert_cluster, wire, wire_cluster
from podfence.kube.objects import KubeObject
from podfence.kube.origin import Path
from podfence.kube.validation import pods
from podfence.kube.validation.findings import Findings
from podfence.kube.validation.names import dns_label, dns_subdomain
from podfence.kube.validation.policy import check_legacy_policy, check_policy
from podfence.kube.validation.services import check_service

LEGACY_POLICY: Final = "extensions/v1beta1"
_NEAR = 0.85


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


class Need(enum.Flag):
    """Who needs a kind besides the reader of files."""

    LIVE = enum.auto()
    """Answers about a live cluster: the kind is listed."""
    ANSWER = enum.auto()
    """Every answer: without these there is none, without others one that knows less."""
    NODE = enum.auto()
    """The agent of a node, which watches it."""
    LAB = enum.auto()
    """The agents of a lab, which are told of it."""


class Reading(NamedTuple):
    """How one object is read: its kind and version, with or without lax CIDRs, in the old meaning or not."""

    kind: str
    api_version: str
    lax: bool
    legacy: bool


class Kind(NamedTuple):
    """One kind.

    `versions` maps API versions, the current one first, to the release that dropped them, "" for none. `short` are
    kubectl's short names. `template` is where the pod template of an object is, () for a Pod and None for what makes
    no pods. `written` is the shape of what is written, `check` and `build` go on from there.
    """

    name: str
    plural: str
    short: tuple[str, ...]
    versions: Mapping[str, str]
    written: type
    check: Callable[[Any, Reading, Findings], None]
    build: Callable[[Any, convert.Identity], KubeObject]
    needs: Need = Need(0)
    template: Path | None = None
    name_rule: Callable[[str], tuple[str, ...]] = dns_subdomain
    namespaced: bool = True

    @property
    def current(self) -> str:
        """The API version that servers have today."""
        return next(iter(self.versions))

    @property
    def group(self) -> str:
        """The API group of the current version."""
        return _group(self.current)

    @property
    def singular(self) -> str:
        """The name in kubectl's output and on its command line."""
        return self.name.lower()

    @property
    def word(self) -> str:
        """The shortest name that kubectl knows it by."""
        return self.short[0] if self.short else self.singular

    def printed(self, *, plural: bool = False) -> str:
        """Return the name with its group, as kubectl prints it: ``deployment.apps``."""
        name = self.plural if plural else self.singular
        return f"{name}.{self.group}" if self.group else name


def _nothing(_written: object, _reading: Reading, _findings: Findings) -> None:
    return


def _policy(written: wire.NetworkPolicy, reading: Reading, findings: Findings) -> None:
    if reading.legacy:
        check_legacy_policy(written, findings)
    else:
        check_policy(written, findings, lax=reading.lax)


def _workload(written: wire.Workload, reading: Reading, findings: Findings) -> None:
    current = KINDS[reading.kind].current == reading.api_version
    pods.check_workload(written, reading.kind, findings, current=current)


_EVERYONE = Need.LIVE | Need.ANSWER | Need.NODE | Need.LAB
_TEMPLATE: Final[Path] = ("spec", "template")


def _of_apps(name: str, plural: str, short: str, versions: Mapping[str, str]) -> Kind:
    """Return a kind of workloads that the group apps has today."""
    return Kind(name, plural, (short,), versions, wire.Workload, _workload, convert.workload, Need.LIVE, _TEMPLATE)


def kept(
    name: str,
    plural: str,
    version: str,
    short: tuple[str, ...] = (),
    *,
    name_rule: Callable[[str], tuple[str, ...]] = dns_subdomain,
    namespaced: bool = True,
) -> Kind:
    """Return the row of a kind that no answer uses, of which only the metadata is read."""
    return Kind(
        *(name, plural, short, {version: ""}, wire.Object, _nothing, convert.kept),
        name_rule=name_rule,
        namespaced=namespaced,
    )


KINDS: Final[Mapping[str, Kind]] = {
    row.name: row
    for row in (
        Kind(
            *("Namespace", "namespaces", ("ns",), {"v1": ""}),
            *(wire.Object, _nothing, convert_cluster.namespace),
            _EVERYONE,
            name_rule=dns_label,
            namespaced=False,
        ),
        Kind(
            *("Node", "nodes", ("no",), {"v1": ""}),
            *(wire_cluster.Node, _nothing, convert_cluster.node),
            Need.LIVE | Need.NODE | Need.LAB,
            namespaced=False,
        ),
        Kind(
            *("Pod", "pods", ("po",), {"v1": ""}),
            *(wire.Pod, lambda written, _, found: pods.check_pod_spec(written.spec, ("spec",), found), convert.pod),
            _EVERYONE,
            (),
        ),
        _of_apps(
            "Deployment",
            "deployments",
            "deploy",
            {"apps/v1": "", "apps/v1beta2": "1.16", "apps/v1beta1": "1.16", "extensions/v1beta1": "1.16"},
        ),
        _of_apps("StatefulSet", "statefulsets", "sts", {"apps/v1": "", "apps/v1beta2": "1.16", "apps/v1beta1": "1.16"}),
        _of_apps(
            "DaemonSet", "daemonsets", "ds", {"apps/v1": "", "apps/v1beta2": "1.16", "extensions/v1beta1": "1.16"}
        ),
        _of_apps(
            "ReplicaSet", "replicasets", "rs", {"apps/v1": "", "apps/v1beta2": "1.16", "extensions/v1beta1": "1.16"}
        ),
        Kind(
            *("ReplicationController", "replicationcontrollers", ("rc",), {"v1": ""}),
            wire.ReplicationController,
            lambda written, _, found: pods.check_replication_controller(written, found),
            convert.workload,
            Need.LIVE,
            _TEMPLATE,
        ),
        Kind(
            *("Job", "jobs", (), {"batch/v1": "", "extensions/v1beta1": "1.6"}),
            wire.Workload,
            lambda written, _, found: pods.check_job(written.spec, ("spec",), found),
            convert.workload,
            Need.LIVE,
            _TEMPLATE,
        ),
        Kind(
            *("CronJob", "cronjobs", ("cj",)),
            {"batch/v1": "", "batch/v1beta1": "1.25", "batch/v2alpha1": "1.21"},
            wire.CronJob,
            lambda written, _, found: pods.check_cron_job(written, found),
            convert.cron_job,
            Need.LIVE,
            ("spec", "jobTemplate", "spec", "template"),
        ),
        Kind(
            *("Service", "services", ("svc",), {"v1": ""}),
            wire_cluster.Service,
            lambda written, _, found: check_service(written, found),
            convert_cluster.service,
            Need.LIVE | Need.LAB,
            name_rule=dns_label,
        ),
        Kind(
            *("EndpointSlice", "endpointslices", ()),
            {"discovery.k8s.io/v1": "", "discovery.k8s.io/v1beta1": "1.25"},
            *(wire_cluster.EndpointSlice, _nothing, convert_cluster.endpoint_slice),
            Need.LIVE,
        ),
        # Live clusters have EndpointSlices for all of them.
        Kind(
            *("Endpoints", "endpoints", ("ep",), {"v1": ""}),
            *(wire_cluster.Endpoints, _nothing, convert_cluster.endpoints),
        ),
        # Nobody needs it: no answer rests on an Ingress. Files and labs have some, and their spelling is checked.
        Kind(
            *("Ingress", "ingresses", ("ing",)),
            {"networking.k8s.io/v1": "", "networking.k8s.io/v1beta1": "1.22", "extensions/v1beta1": "1.22"},
            *(wire_cluster.Ingress, _nothing, convert_cluster.ingress),
        ),
        # extensions/v1beta1 is not marked as dropped: reading it as it was meant is what it is here for.
        Kind(
            *("NetworkPolicy", "networkpolicies", ("netpol",)),
            {"networking.k8s.io/v1": "", LEGACY_POLICY: ""},
            *(wire.NetworkPolicy, _policy, convert.network_policy),
            _EVERYONE,
        ),
    )
}

WORKLOADS: Final = tuple(name for name, row in KINDS.items() if row.template)
"""The kinds that make pods from a template."""

ENDS: Final = (*WORKLOADS, "Service", "Pod")
"""The kinds whose objects can be an end of a connection."""

_BY_WORD: Final = {
    word: row
    for row in KINDS.values()
    for name in (row.singular, row.plural, *row.short)
    for word in (name, f"{name}.{row.group}")
}


def by_word(word: str) -> Kind | None:
    """Return the kind that kubectl knows by a word: singular, plural or short, with or without its group."""
    return _BY_WORD.get(word.lower())


def needed(need: Need) -> tuple[str, ...]:
    """Return the kinds that somebody needs, in the order of `KINDS`."""
    return tuple(name for name, row in KINDS.items() if row.needs & need)


_GROUPS: Final = frozenset(version.rpartition("/")[0].lower() for kind in KINDS.values() for version in kind.versions)


def is_upstream_group(group: str) -> bool:
    """Return whether an API group is Kubernetes' own, so that only its known versions can exist.

    The group of a CustomResourceDefinition has a dot.
    """
    return "." not in group or group.lower() in _GROUPS or group.lower().endswith(".k8s.io")


def is_known_version(api_version: str) -> bool:
    """Return whether one of the kinds here is of this API version."""
    return any(api_version in kind.versions for kind in KINDS.values())


def near_kind(kind: str, group: str) -> str:
    """Return the kind of `group` that `kind` is a misspelling of, "" if of none."""
    if group not in _GROUPS:
        return ""
    names = {
        name.lower(): name for name, known in KINDS.items() if any(_group(text) == group for text in known.versions)
    }
    text = kind.lower()
    if (text, group) == ("list", ""):
        return "List"
    for ending, singular in (("ies", "y"), ("ses", "s"), ("s", "")):
        if text.endswith(ending) and text.removesuffix(ending) + singular in names:
            return names[text.removesuffix(ending) + singular]
    return names.get(nearest(text, names, _NEAR), "")
