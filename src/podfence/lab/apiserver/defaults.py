# SPDX-License-Identifier: Apache-2.0
"""What an API server fills in where objects leave it out (semantics 9.11).

Objects come as `reading` leaves them, and are changed in place: nobody else has them yet.
"""

from __future__ import annotations

import base64
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from podfence.lab.apiserver.fields import struct_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from podfence.lab.apiserver.fields import Type
    from podfence.lab.store.metadata import Raw


_TCP: Final[Raw] = {"protocol": "TCP"}
_MESSAGES: Final[Raw] = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_MODE: Final[Raw] = {"defaultMode": 420}
_ROLLS: Final[Raw] = {"type": "RollingUpdate"}

_VALUES: Final[Mapping[str, Raw]] = {
    "apps/v1.DaemonSetSpec": {"revisionHistoryLimit": 10},
    "apps/v1.DaemonSetUpdateStrategy": _ROLLS,
    "apps/v1.DeploymentSpec": {"revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "replicas": 1},
    "apps/v1.DeploymentStrategy": _ROLLS,
    "apps/v1.ReplicaSetSpec": {"replicas": 1},
    "apps/v1.StatefulSetPersistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
    "apps/v1.StatefulSetSpec": {
        "podManagementPolicy": "OrderedReady",
        "revisionHistoryLimit": 10,
        "replicas": 1,
        "persistentVolumeClaimRetentionPolicy": {},
    },
    "apps/v1.StatefulSetUpdateStrategy": _ROLLS,
    "batch/v1.CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    },
    "core/v1.ConfigMapVolumeSource": _MODE,
    "core/v1.Container": _MESSAGES,
    "core/v1.ContainerPort": _TCP,
    "core/v1.DownwardAPIVolumeSource": _MODE,
    "core/v1.EndpointPort": _TCP,
    "core/v1.EphemeralContainer": _MESSAGES,
    "core/v1.GRPCAction": {"service": ""},
    "core/v1.HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "core/v1.HostPathVolumeSource": {"type": ""},
    "core/v1.ObjectFieldSelector": {"apiVersion": "v1"},
    "core/v1.PodSpec": {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
    },
    "core/v1.Probe": {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3},
    "core/v1.ProjectedVolumeSource": _MODE,
    "core/v1.ReplicationControllerSpec": {"replicas": 1},
    "core/v1.Secret": {"type": "Opaque"},
    "core/v1.SecretVolumeSource": _MODE,
    "core/v1.ServicePort": _TCP,
    "core/v1.ServiceSpec": {"sessionAffinity": "None", "type": "ClusterIP"},
    "discovery/v1.EndpointPort": {"name": "", "protocol": "TCP"},
    "networking/v1.NetworkPolicyPort": _TCP,
    "rbac/v1.RoleRef": {"apiGroup": "rbac.authorization.k8s.io"},
}
"""The values that do not depend on other fields, by the type that has them."""

_NOT_READY: Final = tuple(
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
)


def fill(of: Type, obj: Raw) -> Raw:
    """Return an object of a type with its defaults."""
    fields = of.struct.fields
    for key, value in _VALUES.get(of.item, {}).items():
        # As in Go, a pointer to an empty text is a value.
        if (given := obj.get(key)) is None or (not fields[key].type.pointer and given == ""):
            obj[key] = dict(value) if isinstance(value, dict) else value
    if act := _ACTS.get(of.item):
        act(obj)
    for key, held in _inner(of.item):
        inner = obj.get(key)
        for item in inner if isinstance(inner, list) else () if inner is None else (inner,):
            fill(held, item)
    return obj


@cache
def _inner(name: str) -> tuple[tuple[str, Type], ...]:
    """Return the fields of a struct in which defaults may be, each with the type of what it holds."""
    held = (
        (key, row.type.held if row.type.form == "list" else row.type) for key, row in struct_of(name).fields.items()
    )
    return tuple((key, of) for key, of in held if of.form == "struct" and _has_defaults(of.item))


def _has_defaults(name: str) -> bool:
    return name in _VALUES or name in _ACTS or bool(_inner(name))


def fresh(kind: str, obj: Raw) -> Raw:
    """Return a new object with what a server gives to new ones only."""
    if kind == "Pod":
        obj["status"] = {**obj["status"], "qosClass": _quality(obj)}
        _admit_pod(obj["spec"])
    return obj


def keep_status(kind: str, obj: Raw, before: Raw) -> Raw:
    """Return an object whose status changes, with what stays of the old status if the new one leaves it out."""
    for of, field in (("Pod", "qosClass"), ("Namespace", "phase")):
        if kind == of and not obj["status"].get(field):
            obj["status"] = {**obj["status"], field: before["status"][field]}
    return obj


def _set(target: Raw, **values: object) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def _policy(spec: Raw) -> None:
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _pod(obj: Raw) -> None:
    spec = obj["spec"]
    _set(spec, enableServiceLinks=True)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for container in (*(spec.get("containers") or ()), *spec.get("initContainers", ())):
        resources = container.get("resources") or {}
        for name, quantity in (resources.get("limits") or {}).items():
            resources.setdefault("requests", {}).setdefault(name, quantity)
        for port in container.get("ports", ()):
            if spec.get("hostNetwork") and not port.get("hostPort"):
                port["hostPort"] = port.get("containerPort", 0)


def _pod_spec(spec: Raw) -> None:
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _container(container: Raw) -> None:
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    newest = "@" not in image and tag in ("", "latest")
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = "Always" if newest else "IfNotPresent"


def _volume(volume: Raw) -> None:
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}


def _admit_pod(spec: Raw) -> None:
    """Fill in what Kubernetes' admission adds to pods, and to no template."""
    _set(spec, serviceAccountName="default", serviceAccount="default", preemptionPolicy="PreemptLowerPriority")
    _set(spec, priority=0)
    present = {term.get("key") for term in spec.get("tolerations", ())}
    if "" not in present and None not in present:
        added = [dict(term) for term in _NOT_READY if term["key"] not in present]
        spec["tolerations"] = [*spec.get("tolerations", ()), *added]


def _rolling(strategy: Raw, **values: object) -> None:
    if strategy["type"] == "RollingUpdate":
        _set(strategy, rollingUpdate={})
        _set(strategy["rollingUpdate"], **values)


def _template_labels(obj: Raw) -> Raw:
    """Return the labels of the template of a workload, which are the workload's own unless it has some."""
    labels: Raw = ((obj["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)
    return labels


def _controller(obj: Raw) -> None:
    labels = _template_labels(obj)
    if labels and not obj["spec"].get("selector"):
        obj["spec"]["selector"] = dict(labels)


def _job(obj: Raw) -> None:
    spec = obj["spec"]
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _set(spec, parallelism=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _set(spec, podReplacementPolicy="TerminatingOrFailed")
    _template_labels(obj)


def _service(spec: Raw) -> None:
    if spec["sessionAffinity"] == "ClientIP":
        config = spec["sessionAffinityConfig"] = spec.get("sessionAffinityConfig") or {}
        config["clientIP"] = {"timeoutSeconds": 10800} | (config.get("clientIP") or {})
    kind = spec["type"]
    if kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs")):
        _set(spec, externalTrafficPolicy="Cluster")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        _set(spec, internalTrafficPolicy="Cluster")
    if kind == "LoadBalancer":
        _set(spec, allocateLoadBalancerNodePorts=True)
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def _service_port(port: Raw) -> None:
    if port.get("targetPort") in (None, 0, ""):
        port["targetPort"] = port.get("port", 0)


def _secret(obj: Raw) -> None:
    if texts := obj.pop("stringData", None):
        written = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        obj["data"] = {**(obj.get("data") or {}), **written}


def _subject(subject: Raw) -> None:
    if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
        subject["apiGroup"] = "rbac.authorization.k8s.io"


def _quality(obj: Raw) -> str:
    """Return the quality of service of a pod."""
    containers = [*(obj["spec"].get("containers") or ()), *obj["spec"].get("initContainers", ())]
    wants = [container.get("resources") or {} for container in containers]
    if not any(want.get("limits") or want.get("requests") for want in wants):
        return "BestEffort"
    full = all(
        {"cpu", "memory"} <= (want.get("limits") or {}).keys() and want.get("limits") == want.get("requests")
        for want in wants
    )
    return "Guaranteed" if full else "Burstable"


_ACTS: Final[Mapping[str, Callable[[Raw], object]]] = {
    "apps/v1.DaemonSetUpdateStrategy": partial(_rolling, maxUnavailable=1, maxSurge=0),
    "apps/v1.DeploymentStrategy": partial(_rolling, maxUnavailable="25%", maxSurge="25%"),
    "apps/v1.ReplicaSet": _template_labels,
    "apps/v1.StatefulSetUpdateStrategy": partial(_rolling, partition=0),
    "batch/v1.Job": _job,
    "core/v1.Container": _container,
    "core/v1.EphemeralContainer": _container,
    "core/v1.Pod": _pod,
    "core/v1.PodSpec": _pod_spec,
    "core/v1.ReplicationController": _controller,
    "core/v1.Secret": _secret,
    "core/v1.ServicePort": _service_port,
    "core/v1.ServiceSpec": _service,
    "core/v1.Volume": _volume,
    "networking/v1.NetworkPolicySpec": _policy,
    "rbac/v1.Subject": _subject,
}
