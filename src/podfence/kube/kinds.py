# SPDX-License-Identifier: Apache-2.0
"""The kinds podfence reads: their API versions, and how each is checked and converted."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from podfence.kube import convert, wire, wire_cluster
from podfence.kube.objects import KubeObject
from podfence.kube.validation import workloads
from podfence.kube.validation.findings import Findings
from podfence.kube.validation.legacy import check_legacy_policy
from podfence.kube.validation.names import dns_label, dns_subdomain
from podfence.kube.validation.pods import check_pod_spec
from podfence.kube.validation.policy import check_policy
from podfence.kube.validation.services import check_service

LEGACY_POLICY: Final = "extensions/v1beta1"
_NEAR = 0.85


class Reading(NamedTuple):
    """How one object is read: its kind and version, with or without lax CIDRs, in the old meaning or not."""

    kind: str
    api_version: str
    lax: bool
    legacy: bool


class Kind(NamedTuple):
    """One kind; `versions` maps API versions, the current one first, to the release that dropped them."""

    versions: Mapping[str, str]
    written: type
    check: Callable[[Any, Reading, Findings], None]
    build: Callable[[Any, convert.Identity], KubeObject]
    name_rule: Callable[[str], tuple[str, ...]] = dns_subdomain
    namespaced: bool = True

    @property
    def current(self) -> str:
        """Return the API version that servers have today."""
        return next(iter(self.versions))


def _nothing(_written: object, _reading: Reading, _findings: Findings) -> None:
    return


def _policy(written: wire.NetworkPolicy, reading: Reading, findings: Findings) -> None:
    if reading.legacy:
        check_legacy_policy(written, findings)
    else:
        check_policy(written, findings, lax=reading.lax)


def _pod(written: wire.Pod, _reading: Reading, findings: Findings) -> None:
    check_pod_spec(written.spec, ("spec",), findings)


def _workload(written: wire.Workload, reading: Reading, findings: Findings) -> None:
    current = KINDS[reading.kind].current == reading.api_version
    workloads.check_workload(written, reading.kind, findings, current=current)


def _controller(written: wire.ReplicationController, _reading: Reading, findings: Findings) -> None:
    workloads.check_replication_controller(written, findings)


def _job(written: wire.Workload, _reading: Reading, findings: Findings) -> None:
    workloads.check_job(written.spec, ("spec",), findings)


def _cron_job(written: wire.CronJob, _reading: Reading, findings: Findings) -> None:
    workloads.check_cron_job(written, findings)


def _service(written: wire_cluster.Service, _reading: Reading, findings: Findings) -> None:
    check_service(written, findings)


KINDS: Final[Mapping[str, Kind]] = {
    "Namespace": Kind({"v1": ""}, wire_cluster.Namespace, _nothing, convert.namespace, dns_label, namespaced=False),
    "Pod": Kind({"v1": ""}, wire.Pod, _pod, convert.pod),
    "Deployment": Kind(
        {"apps/v1": "", "apps/v1beta2": "1.16", "apps/v1beta1": "1.16", "extensions/v1beta1": "1.16"},
        wire.Workload,
        _workload,
        convert.workload,
    ),
    "StatefulSet": Kind(
        {"apps/v1": "", "apps/v1beta2": "1.16", "apps/v1beta1": "1.16"}, wire.Workload, _workload, convert.workload
    ),
    "DaemonSet": Kind(
        {"apps/v1": "", "apps/v1beta2": "1.16", "extensions/v1beta1": "1.16"},
        wire.Workload,
        _workload,
        convert.workload,
    ),
    "ReplicaSet": Kind(
        {"apps/v1": "", "apps/v1beta2": "1.16", "extensions/v1beta1": "1.16"},
        wire.Workload,
        _workload,
        convert.workload,
    ),
    "ReplicationController": Kind({"v1": ""}, wire.ReplicationController, _controller, convert.workload),
    "Job": Kind({"batch/v1": "", "extensions/v1beta1": "1.6"}, wire.Workload, _job, convert.workload),
    "CronJob": Kind(
        {"batch/v1": "", "batch/v1beta1": "1.25", "batch/v2alpha1": "1.21"}, wire.CronJob, _cron_job, convert.cron_job
    ),
    "Service": Kind({"v1": ""}, wire_cluster.Service, _service, convert.service, dns_label),
    "EndpointSlice": Kind(
        {"discovery.k8s.io/v1": "", "discovery.k8s.io/v1beta1": "1.25"},
        wire_cluster.EndpointSlice,
        _nothing,
        convert.endpoint_slice,
    ),
    "Node": Kind({"v1": ""}, wire_cluster.Node, _nothing, convert.node, namespaced=False),
    "Ingress": Kind(
        {"networking.k8s.io/v1": "", "networking.k8s.io/v1beta1": "1.22", "extensions/v1beta1": "1.22"},
        wire_cluster.Ingress,
        _nothing,
        convert.ingress,
    ),
    # extensions/v1beta1 is not marked as dropped: reading it as it was meant is what it is here for.
    "NetworkPolicy": Kind(
        {"networking.k8s.io/v1": "", LEGACY_POLICY: ""}, wire.NetworkPolicy, _policy, convert.network_policy
    ),
}

_GROUPS: Final = frozenset(version.rpartition("/")[0].lower() for kind in KINDS.values() for version in kind.versions)


def is_upstream_group(group: str) -> bool:
    """Return whether an API group is Kubernetes' own, so that only its known versions can exist."""
    return group.lower() in _GROUPS or group.lower().endswith(".k8s.io")


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
    near = difflib.get_close_matches(text, names, n=1, cutoff=_NEAR)
    return names[near[0]] if near else ""


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]
