# SPDX-License-Identifier: Apache-2.0
"""What an API server fills in where objects leave it out (semantics 9.11).

Objects come as `reading` leaves them, and are changed in place: nobody else has them yet.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Raw = dict[str, Any]

_NOT_READY: Final = tuple(
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for key in ("not-ready", "unreachable")
)


def fill(kind: str, obj: Raw) -> Raw:
    """Return an object with the defaults of its kind."""
    if act := _BY_KIND.get(kind):
        act(obj)
    return obj


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
        if target.get(key) in (None, "", [], {}):
            target[key] = value


def _policy(obj: Raw) -> None:
    spec = obj["spec"]
    for rule in (*spec.get("ingress", ()), *spec.get("egress", ())):
        for port in rule.get("ports", ()):
            if port.get("protocol") is None:
                port["protocol"] = "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _pod(obj: Raw) -> None:
    spec = obj["spec"]
    _pod_spec(spec)
    _set(spec, enableServiceLinks=True)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for key in ("containers", "initContainers"):
        for container in spec.get(key) or ():
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
    _set(
        spec,
        restartPolicy="Always",
        terminationGracePeriodSeconds=30,
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
    )
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    for key in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(key) or ():
            _container(container)
    for volume in spec.get("volumes", ()):
        _volume(volume)


def _container(container: Raw) -> None:
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    newest = "@" not in image and tag in ("", "latest")
    _set(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy="Always" if newest else "IfNotPresent",
    )
    for port in container.get("ports", ()):
        _set(port, protocol="TCP")
    for variable in container.get("env", ()):
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            _set(reference, apiVersion="v1")
    for key in ("livenessProbe", "readinessProbe", "startupProbe"):
        if (probe := container.get(key)) is not None:
            _set(probe, timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3)
            _action(probe)
    for hook in (container.get("lifecycle") or {}).values():
        if isinstance(hook, dict):
            _action(hook)


def _action(handler: Raw) -> None:
    if (request := handler.get("httpGet")) is not None:
        _set(request, path="/", scheme="HTTP")
    if (call := handler.get("grpc")) is not None and call.get("service") is None:
        call["service"] = ""


def _volume(volume: Raw) -> None:
    for key in ("secret", "configMap", "downwardAPI", "projected"):
        if (source := volume.get(key)) is not None and source.get("defaultMode") is None:
            source["defaultMode"] = 420
    if (path := volume.get("hostPath")) is not None and path.get("type") is None:
        path["type"] = ""
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}


def _admit_pod(spec: Raw) -> None:
    """Fill in what Kubernetes' admission adds to pods, and to no template."""
    _set(spec, serviceAccountName="default", serviceAccount="default", preemptionPolicy="PreemptLowerPriority")
    if spec.get("priority") is None:
        spec["priority"] = 0
    present = {term.get("key") for term in spec.get("tolerations", ())}
    if "" not in present and None not in present:
        added = [dict(term) for term in _NOT_READY if term["key"] not in present]
        spec["tolerations"] = [*spec.get("tolerations", ()), *added]


def _template(obj: Raw) -> Raw:
    spec: Raw = obj["spec"]
    template = spec.get("template")
    if template is not None:
        _pod_spec(template["spec"])
    return spec


def _deployment(obj: Raw) -> None:
    spec = _template(obj)
    _set(spec, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    strategy = spec["strategy"]
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
        for key in ("maxUnavailable", "maxSurge"):
            if rolling.get(key) is None:
                rolling[key] = "25%"


def _replica_set(obj: Raw) -> None:
    spec = _template(obj)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _controller(obj: Raw) -> None:
    _replica_set(obj)
    labels = ((obj["spec"].get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not obj["spec"].get("selector"):
        obj["spec"]["selector"] = dict(labels)


def _stateful_set(obj: Raw) -> None:
    spec = _template(obj)
    _set(spec, podManagementPolicy="OrderedReady", revisionHistoryLimit=10)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    strategy = spec["updateStrategy"]
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
        if rolling.get("partition") is None:
            rolling["partition"] = 0
    kept = spec["persistentVolumeClaimRetentionPolicy"] = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    _set(kept, whenDeleted="Retain", whenScaled="Retain")


def _daemon_set(obj: Raw) -> None:
    spec = _template(obj)
    _set(spec, revisionHistoryLimit=10)
    strategy = spec["updateStrategy"]
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
        for key, value in (("maxUnavailable", 1), ("maxSurge", 0)):
            if rolling.get(key) is None:
                rolling[key] = value


def _job(obj: Raw) -> None:
    _template(obj)
    _job_spec(obj["spec"])
    labels = (obj["spec"].get("template") or {}).get("metadata", {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


def _job_spec(spec: Raw) -> None:
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    for key, value in (
        *(("parallelism", 1), ("backoffLimit", 6), ("completionMode", "NonIndexed"), ("suspend", False)),
        ("podReplacementPolicy", "TerminatingOrFailed"),
    ):
        if spec.get(key) is None:
            spec[key] = value


def _cron_job(obj: Raw) -> None:
    spec = obj["spec"]
    _set(spec, concurrencyPolicy="Allow")
    for key, value in (("suspend", False), ("successfulJobsHistoryLimit", 3), ("failedJobsHistoryLimit", 1)):
        if spec.get(key) is None:
            spec[key] = value
    template = spec["jobTemplate"]["spec"].get("template")
    if template is not None:
        _pod_spec(template["spec"])


def _service(obj: Raw) -> None:
    spec = obj["spec"]
    _set(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "ClientIP":
        config = spec["sessionAffinityConfig"] = spec.get("sessionAffinityConfig") or {}
        config["clientIP"] = {"timeoutSeconds": 10800} | (config.get("clientIP") or {})
    for port in spec.get("ports", ()):
        _set(port, protocol="TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    kind = spec["type"]
    if kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and spec.get("externalIPs")):
        _set(spec, externalTrafficPolicy="Cluster")
    if kind in ("ClusterIP", "NodePort", "LoadBalancer"):
        _set(spec, internalTrafficPolicy="Cluster")
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]


def _endpoints(obj: Raw) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            _set(port, protocol="TCP")


def _endpoint_slice(obj: Raw) -> None:
    for port in obj.get("ports") or ():
        if port.get("name") is None:
            port["name"] = ""
        _set(port, protocol="TCP")


def _secret(obj: Raw) -> None:
    _set(obj, type="Opaque")
    if texts := obj.pop("stringData", None):
        written = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        obj["data"] = {**(obj.get("data") or {}), **written}


def _binding(obj: Raw) -> None:
    _set(obj["roleRef"], apiGroup="rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _set(subject, apiGroup="rbac.authorization.k8s.io")


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


_BY_KIND: Final[Mapping[str, Callable[[Raw], None]]] = {
    "NetworkPolicy": _policy,
    "Pod": _pod,
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "ReplicationController": _controller,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "CronJob": _cron_job,
    "Service": _service,
    "Endpoints": _endpoints,
    "EndpointSlice": _endpoint_slice,
    "Secret": _secret,
    "RoleBinding": _binding,
    "ClusterRoleBinding": _binding,
}
