# SPDX-License-Identifier: Apache-2.0
"""The cells of kubectl's tables for all kinds but pods: what `kubectl get` shows of an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from podfence.lab.apiserver.ages import UNKNOWN, age, duration, seconds
from podfence.lab.apiserver.fields import value_at
from podfence.lab.store.metadata import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Cell = Callable[[Raw, float], Any]
"""Makes a cell of an object, given the time in seconds since the epoch."""

Cells = Callable[[Raw, float], list[Any]]
"""Makes all cells of an object's row."""

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


def conditions(state: Raw) -> set[str | None]:
    """Return the types of the conditions that a status has, and that are true."""
    return {term.get("type") for term in state.get("conditions") or () if term.get("status") == "True"}


def some(texts: Sequence[str], empty: str = _UNSET) -> str:
    """Return the first texts, and how many more there are."""
    shown = ",".join(texts[:_SHOWN])
    return f"{shown} + {len(texts) - _SHOWN} more..." if len(texts) > _SHOWN else shown or empty


def at(path: str, empty: Any = "") -> Cell:  # noqa: ANN401 - any JSON value
    """Return a cell that shows the value at a path such as ``spec.type``, and `empty` where there is none."""
    return lambda obj, _now: value_at(obj, path) or empty


def row(*parts: Cell) -> Cells:
    """Return the cells of a kind, each of which is made by itself."""
    return lambda obj, now: [part(obj, now) for part in parts]


def _selected(obj: Raw, _now: float) -> str:
    return selector(value_at(obj, "spec.selector"))


def _chosen(obj: Raw, _now: float) -> str:
    return labels(value_at(obj, "spec.selector"))


def _containers(key: str, template: str = "spec.template") -> Cell:
    found = f"{template}.spec.containers"
    return lambda obj, _now: ",".join(item.get(key, "") for item in value_at(obj, found) or ())


def _ready(obj: Raw, _now: float) -> str:
    return f"{value_at(obj, 'status.readyReplicas') or 0}/{value_at(obj, 'spec.replicas') or 0}"


_NAME: Final = at("metadata.name")
_IN_PODS: Final = (_containers("name"), _containers("image"))
_REPLICAS: Final = (at("spec.replicas", 0), at("status.replicas", 0), at("status.readyReplicas", 0))
_JOB: Final = "spec.jobTemplate.spec.template"

config_map = row(_NAME, lambda obj, _: len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), created)
controller = row(_NAME, *_REPLICAS, created, *_IN_PODS, _chosen)
cron_job = row(
    *(_NAME, at("spec.schedule"), at("spec.timeZone", NONE)),
    lambda obj, _: _UNSET if (suspended := obj["spec"].get("suspend")) is None else str(suspended),
    lambda obj, _: len(value_at(obj, "status.active") or ()),
    lambda obj, now: age(last, now) if (last := value_at(obj, "status.lastScheduleTime")) else NONE,
    *(created, _containers("name", _JOB), _containers("image", _JOB)),
    lambda obj, _: selector(value_at(obj, "spec.jobTemplate.spec.selector")),
)
daemon_set = row(
    *(_NAME, at("status.desiredNumberScheduled", 0), at("status.currentNumberScheduled", 0)),
    *(at("status.numberReady", 0), at("status.updatedNumberScheduled", 0), at("status.numberAvailable", 0)),
    lambda obj, _: labels(value_at(obj, "spec.template.spec.nodeSelector")),
    *(created, *_IN_PODS, _selected),
)
deployment = row(
    _NAME, _ready, at("status.updatedReplicas", 0), at("status.availableReplicas", 0), created, *_IN_PODS, _selected
)
named = row(_NAME, created)
namespace = row(_NAME, at("status.phase"), created)
policy = row(_NAME, lambda obj, _: selector(value_at(obj, "spec.podSelector")), created)
replica_set = row(_NAME, *_REPLICAS, created, *_IN_PODS, _selected)
# kubectl shows the creation of a role as a time.
role = row(_NAME, at("metadata.creationTimestamp"))
secret = row(_NAME, at("type"), lambda obj, _: len(obj.get("data") or ()), created)
stateful_set = row(_NAME, _ready, created, *_IN_PODS)


def node(obj: Raw, now: float) -> list[Any]:
    """Return the cells of a Node."""
    meta, state = obj["metadata"], obj.get("status") or {}
    ready = [term.get("status") for term in state.get("conditions") or () if term.get("type") == "Ready"]
    words = ["Unknown" if not ready else "Ready" if ready[-1] == "True" else "NotReady"]
    if (obj.get("spec") or {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    prefix = "node-role.kubernetes.io/"
    found = meta.get("labels") or {}
    roles = {key.removeprefix(prefix) for key in found if key.startswith(prefix)} | {found.get("kubernetes.io/role")}
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
    found = value_at(obj, "status.loadBalancer.ingress") or ()
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


_JOB_ENDS: Final = ("Complete", "Failed")
_JOB_LATER: Final = ("Suspended", "FailureTarget", "SuccessCriteriaMet")
_OF_JOBS: Final = row(created, *_IN_PODS, _selected)


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
    met = conditions(state)
    going = ("Terminating",) if obj["metadata"].get("deletionTimestamp") else ()
    words = [kind for kind in (*_JOB_ENDS, *going, *_JOB_LATER) if kind in met or kind in going]
    word = words[0] if words else "Running"
    return [obj["metadata"]["name"], word, completions, took, *_OF_JOBS(obj, now)]


def ingress(obj: Raw, now: float) -> list[Any]:
    """Return the cells of an Ingress."""
    spec = obj["spec"]
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    ports = "80, 443" if spec.get("tls") else "80"
    name, kind = obj["metadata"]["name"], spec.get("ingressClassName") or NONE
    return [name, kind, some(hosts, "*"), ",".join(_balancer(obj)), ports, created(obj, now)]


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
    about, source = obj.get("involvedObject") or {}, obj.get("source") or {}
    target = "/".join(filter(None, (about.get("kind", "").lower(), about.get("name"))))
    component = source.get("component") or obj.get("reportingComponent")
    origin = ", ".join(filter(None, (component, source.get("host") or obj.get("reportingInstance"))))
    return [
        *(last, obj.get("type", ""), obj.get("reason", ""), target, about.get("fieldPath", ""), origin),
        *(obj.get("message", "").strip(), first, count, obj["metadata"]["name"]),
    ]
