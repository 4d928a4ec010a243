# SPDX-License-Identifier: Apache-2.0
"""The cells of kubectl's tables for all kinds but pods: what `kubectl get` shows of an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from podfence.lab.apiserver.ages import UNKNOWN, age, duration, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Raw = dict[str, Any]
NONE: Final = "<none>"
_UNSET: Final = "<unset>"
_SHOWN: Final = 3
_TERMS: Final = {"In": "in", "NotIn": "notin"}


def created(obj: Raw, now: float) -> str:
    """Return the age of an object."""
    return age(obj["metadata"].get("creationTimestamp"), now)


def labels(found: Mapping[str, str] | None) -> str:
    """Return labels as one text."""
    return ",".join(f"{key}={value}" for key, value in sorted(found.items())) if found else NONE


def selector(found: Raw | None) -> str:
    """Return a label selector as one text."""
    if found is None:
        return NONE
    terms = [(key, f"{key}={value}") for key, value in (found.get("matchLabels") or {}).items()]
    for term in found.get("matchExpressions") or ():
        key, operator = term.get("key", ""), term.get("operator", "")
        values = ",".join(sorted(term.get("values") or ()))
        if operator in _TERMS:
            terms.append((key, f"{key} {_TERMS[operator]} ({values})"))
        elif operator in ("Exists", "DoesNotExist"):
            terms.append((key, key if operator == "Exists" else f"!{key}"))
        else:
            return "<error>"
    return ",".join(text for _, text in sorted(terms, key=lambda term: term[0])) or NONE


def some(texts: Sequence[str], empty: str = _UNSET) -> str:
    """Return the first texts, and how many more there are."""
    shown = ",".join(texts[:_SHOWN])
    return f"{shown} + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else shown or empty


def _containers(spec: Raw) -> list[str]:
    found = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    return [",".join(item.get(key, "") for item in found) for key in ("name", "image")]


def _status(obj: Raw, key: str) -> Any:  # noqa: ANN401 - any JSON value
    return (obj.get("status") or {}).get(key) or 0


def namespace(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a Namespace."""
    return [obj["metadata"]["name"], (obj.get("status") or {}).get("phase", ""), created(obj, now)]


def node(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a Node."""
    meta, state = obj["metadata"], obj.get("status") or {}
    ready = [term.get("status") for term in state.get("conditions") or () if term.get("type") == "Ready"]
    words = ["Unknown" if not ready else "Ready" if ready[-1] == "True" else "NotReady"]
    if (obj.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    found = meta.get("labels") or {}
    roles = {key.removeprefix(prefix) for key in found if key.startswith(prefix)} | {
        value for key, value in found.items() if key == "kubernetes.io/role"
    }
    info = state.get("nodeInfo") or {}
    kernel = info.get("kernelVersion") or UNKNOWN
    if info.get("architecture"):
        kernel += f" ({info['architecture']})"
    addresses = {item.get("type"): item.get("address") for item in reversed(state.get("addresses") or ())}
    return [
        *(meta["name"], ",".join(words), ",".join(sorted(filter(None, roles))) or NONE, created(obj, now)),
        *(info.get("kubeletVersion", ""), addresses.get("InternalIP") or NONE, addresses.get("ExternalIP") or NONE),
        *(info.get("osImage") or UNKNOWN, kernel, info.get("containerRuntimeVersion") or UNKNOWN),
    ]


def service(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a Service."""
    spec = obj["spec"]
    address = (spec.get("clusterIPs") or [spec.get("clusterIP")])[0] or NONE
    ports = ",".join(map(_port, spec.get("ports") or ()))
    cells = [obj["metadata"]["name"], spec.get("type", ""), address, _external(obj), ports or NONE, created(obj, now)]
    return [*cells, labels(spec.get("selector"))]


def _port(port: Raw) -> str:
    number, protocol, node = port.get("port", 0), port.get("protocol") or "TCP", port.get("nodePort")
    return f"{number}:{node}/{protocol}" if node else f"{number}/{protocol}"


def _external(obj: Raw) -> str:
    spec = obj["spec"]
    own = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(own) or NONE
        case "LoadBalancer":
            return ",".join([*_balancer(obj), *own]) or "<pending>"
        case "ExternalName":
            return str(spec.get("externalName", ""))
    return UNKNOWN


def _balancer(obj: Raw) -> list[str]:
    found = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return list(dict.fromkeys(item.get("ip") or item.get("hostname") or "" for item in found))


def endpoints(obj: Raw, now: float) -> list[Any]:
    """Return the cells of Endpoints."""
    texts: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [item.get("ip", "") for item in subset.get("addresses") or ()]
        ports = subset.get("ports")
        if ports:
            texts += [_joined(address, port["port"]) for port in ports for address in addresses]
        else:
            texts += addresses
    return [obj["metadata"]["name"], some(texts, "" if obj.get("subsets") else NONE), created(obj, now)]


def _joined(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def endpoint_slice(obj: Raw, now: float) -> list[Any]:
    """Return the cells of an EndpointSlice."""
    ports = [str(port.get("port") or port.get("name") or "*") for port in obj.get("ports") or ()]
    addresses = [address for item in obj.get("endpoints") or () for address in item.get("addresses") or ()]
    name = obj["metadata"]["name"]
    return [name, obj.get("addressType", ""), some(ports), some(addresses), created(obj, now)]


def deployment(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a Deployment."""
    spec = obj["spec"]
    ready = f"{_status(obj, 'readyReplicas')}/{spec.get('replicas', 0)}"
    counts = [_status(obj, key) for key in ("updatedReplicas", "availableReplicas")]
    cells = [obj["metadata"]["name"], ready, *counts, created(obj, now)]
    return [*cells, *_containers(spec), selector(spec.get("selector"))]


def replica_set(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a ReplicaSet."""
    spec = obj["spec"]
    return [*_replicas(obj, now), *_containers(spec), selector(spec.get("selector"))]


def controller(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a ReplicationController."""
    spec = obj["spec"]
    return [*_replicas(obj, now), *_containers(spec), labels(spec.get("selector"))]


def _replicas(obj: Raw, now: float) -> list[Any]:
    counts = [obj["spec"].get("replicas") or 0, _status(obj, "replicas"), _status(obj, "readyReplicas")]
    return [obj["metadata"]["name"], *counts, created(obj, now)]


def stateful_set(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a StatefulSet."""
    spec = obj["spec"]
    ready = f"{_status(obj, 'readyReplicas')}/{spec.get('replicas') or 0}"
    return [obj["metadata"]["name"], ready, created(obj, now), *_containers(spec)]


def daemon_set(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a DaemonSet."""
    spec = obj["spec"]
    keys = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled")
    counts = [_status(obj, key) for key in (*keys, "numberAvailable")]
    where = labels(((spec.get("template") or {}).get("spec") or {}).get("nodeSelector"))
    cells = [obj["metadata"]["name"], *counts, where, created(obj, now)]
    return [*cells, *_containers(spec), selector(spec.get("selector"))]


_JOB_WORDS: Final = (("Complete", "Complete"), ("Failed", "Failed"))
_JOB_LATER: Final = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def job(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a Job."""
    spec, state = obj["spec"], obj.get("status") or {}
    done, wanted, parallel = state.get("succeeded") or 0, spec.get("completions"), spec.get("parallelism") or 0
    if wanted is not None:
        completions = f"{done}/{wanted}"
    else:
        completions = f"{done}/1 of {parallel}" if parallel > 1 else f"{done}/1"
    start, end = seconds(state.get("startTime")), seconds(state.get("completionTime"))
    took = "" if start is None else duration((now if end is None else end) - start)
    met = {term.get("type") for term in state.get("conditions") or () if term.get("status") == "True"}
    word = next((word for kind, word in _JOB_WORDS if kind in met), "")
    if not word and obj["metadata"].get("deletionTimestamp"):
        word = "Terminating"
    word = word or next((kind for kind in _JOB_LATER if kind in met), "Running")
    cells = [obj["metadata"]["name"], word, completions, took, created(obj, now)]
    return [*cells, *_containers(spec), selector(spec.get("selector"))]


def cron_job(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a CronJob."""
    spec, state = obj["spec"], obj.get("status") or {}
    last = state.get("lastScheduleTime")
    job_spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    suspended = spec.get("suspend")
    return [
        *(obj["metadata"]["name"], spec.get("schedule", ""), spec.get("timeZone") or NONE),
        *("<unset>" if suspended is None else str(suspended), len(state.get("active") or ())),
        *(age(last, now) if last else NONE, created(obj, now)),
        *(*_containers(job_spec), selector(job_spec.get("selector"))),
    ]


def policy(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a NetworkPolicy."""
    return [obj["metadata"]["name"], selector(obj["spec"].get("podSelector")), created(obj, now)]


def ingress(obj: Raw, now: float) -> list[Any]:
    """Return the cells of an Ingress."""
    spec = obj["spec"]
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    ports = "80, 443" if spec.get("tls") else "80"
    name, kind = obj["metadata"]["name"], spec.get("ingressClassName") or NONE
    return [name, kind, some(hosts, "*"), ",".join(_balancer(obj)), ports, created(obj, now)]


def config_map(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a ConfigMap."""
    size = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [obj["metadata"]["name"], size, created(obj, now)]


def secret(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a Secret."""
    return [obj["metadata"]["name"], obj.get("type", ""), len(obj.get("data") or ()), created(obj, now)]


def named(obj: Raw, now: float) -> list[Any]:
    """Return the cells of what has a name and an age."""
    return [obj["metadata"]["name"], created(obj, now)]


def role(obj: Raw, _now: float) -> list[Any]:
    """Return the cells of a Role, whose creation kubectl shows as a time."""
    return [obj["metadata"]["name"], obj["metadata"].get("creationTimestamp", "")]


def binding(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a RoleBinding or a ClusterRoleBinding."""
    to, subjects = obj["roleRef"], obj.get("subjects") or ()
    users, groups, accounts = (
        ", ".join(_subject(item) for item in subjects if item.get("kind") == kind)
        for kind in ("User", "Group", "ServiceAccount")
    )
    cells = [obj["metadata"]["name"], f"{to.get('kind', '')}/{to.get('name', '')}", created(obj, now)]
    return [*cells, users, groups, accounts]


def _subject(item: Raw) -> str:
    name = str(item.get("name", ""))
    return f"{item.get('namespace', '')}/{name}" if item.get("kind") == "ServiceAccount" else name


def event(obj: Raw, now: float) -> list[Any]:
    """Return the cells of an Event."""
    first = age(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = age(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series := obj.get("series"):
        last, count = age(series.get("lastObservedTime"), now), series.get("count") or 0
    about = obj.get("involvedObject") or {}
    target = "/".join(_present((about.get("kind", "").lower(), about.get("name"))))
    source = obj.get("source") or {}
    origin = ", ".join(
        _present(
            (
                source.get("component") or obj.get("reportingComponent"),
                source.get("host") or obj.get("reportingInstance"),
            )
        )
    )
    return [
        *(last, obj.get("type", ""), obj.get("reason", ""), target, about.get("fieldPath", ""), origin),
        *(obj.get("message", "").strip(), first, count, obj["metadata"]["name"]),
    ]


def _present(texts: Iterable[str | None]) -> list[str]:
    return [text for text in texts if text]
