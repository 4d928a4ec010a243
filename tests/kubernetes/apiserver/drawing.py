# SPDX-License-Identifier: Apache-2.0
"""Random objects of the kinds that two servers are compared by, and random changes of them.

All is drawn from few names, labels and values, so that requests meet each other. Now and then something is wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final, NamedTuple

Raw = dict[str, Any]

NAMES: Final = ("a", "b", "c")
_VALUES: Final = ("x", "y", "", "z")
_STRANGE: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    70000,
    2**40,
    1.5,
    "",
    "A b",
    "x" * 70,
    "10.0.0.0/8",
    [],
    {},
    [{}],
    {"x": "y"},
    ["x"],
)
_IMAGES: Final = ("nginx", "nginx:1.29", "registry.example/a@sha256:" + "0" * 64, "")
_PORTS: Final = (80, 443, 8080, "http", 0, 65536)


class Kind(NamedTuple):
    """A kind: where its objects are, and how one is drawn."""

    name: str
    path: str
    plural: str
    namespaced: bool
    draw: Callable[[random.Random], Raw]
    has_status: bool = True
    has_scale: bool = False

    def url(self, namespace: str, name: str = "", sub: str = "") -> str:
        """Return the path of a collection, an object or a subresource."""
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join(filter(None, (f"{self.path}{inside}/{self.plural}", name, sub)))


def labels(rng: random.Random) -> Raw:
    """Return a few labels, now and then one that is wrong."""
    found: Raw = {key: rng.choice(_VALUES) for key in ("app", "tier") if rng.random() < 0.6}
    if rng.random() < 0.03:
        found[rng.choice(("-bad", "a/b/c", "x"))] = rng.choice(("no space", 1, "-", None))
    return found


def metadata(rng: random.Random, name: str) -> Raw:
    """Return the metadata of a new object."""
    found: Raw = {"name": name, "labels": labels(rng)}
    if rng.random() < 0.2:
        found["annotations"] = {"note": rng.choice(("one", "two", ""))}
    if rng.random() < 0.04:
        found["finalizers"] = [rng.choice(("example.com/keep", "keep", "foregroundDeletion"))]
    if rng.random() < 0.03:
        found[rng.choice(("uid", "creationTimestamp", "selfLink", "color"))] = rng.choice(
            ("7", 7, "2020-01-01T00:00:00Z", None)
        )
    return found


def _selector(rng: random.Random) -> Raw:
    found: Raw = {}
    if rng.random() < 0.7:
        found["matchLabels"] = labels(rng)
    if rng.random() < 0.3:
        operator = rng.choice(("In", "NotIn", "Exists", "DoesNotExist", "in"))
        values = {} if operator.endswith("xist") or operator == "Exists" else {"values": ["x", "y"]}
        if rng.random() < 0.1:
            values = {"values": []}
        found["matchExpressions"] = [{"key": "app", "operator": operator, **values}]
    return found


def _container(rng: random.Random, name: str) -> Raw:
    found: Raw = {"name": name, "image": rng.choice(_IMAGES[:3] if rng.random() < 0.95 else _IMAGES)}
    if rng.random() < 0.4:
        found["ports"] = [{"containerPort": rng.choice((80, 8080)), "name": rng.choice(("http", "web", "http"))}]
    if rng.random() < 0.2:
        found["env"] = [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": rng.choice(("metadata.name", "status.podIP"))}}},
        ]
    if rng.random() < 0.2:
        found["resources"] = {rng.choice(("limits", "requests")): {"cpu": rng.choice(("100m", "1", "0.5"))}}
    if rng.random() < 0.15:
        probe = rng.choice(
            (
                {"httpGet": {"port": rng.choice((80, "http"))}},
                {"tcpSocket": {"port": 80}},
                {"exec": {"command": ["true"]}},
            )
        )
        found[rng.choice(("readinessProbe", "livenessProbe"))] = {**probe, "periodSeconds": 5}
    if rng.random() < 0.1:
        found["command"], found["args"] = ["sh", "-c"], ["sleep 1"]
    return found


def _pod_spec(rng: random.Random, *, template: bool = False) -> Raw:
    found: Raw = {"containers": [_container(rng, name) for name in ("main", "side")[: rng.choice((1, 1, 1, 2))]]}
    if rng.random() < 0.1:
        found["initContainers"] = [{"name": "init", "image": "busybox"}]
    if rng.random() < 0.2:
        found["restartPolicy"] = rng.choice(("Always",) if template else ("Never", "OnFailure", "never"))
    if rng.random() < 0.15:
        found["terminationGracePeriodSeconds"] = rng.choice((0, 5, -1))
    if rng.random() < 0.15:
        found["nodeName"] = "node-1"
    if rng.random() < 0.1:
        found["volumes"] = [{"name": "data", **rng.choice(({"emptyDir": {}}, {}, {"configMap": {"name": "c"}}))}]
    if rng.random() < 0.1:
        found["tolerations"] = [{"key": "x", "operator": rng.choice(("Exists", "Equal")), "effect": "NoSchedule"}]
    if rng.random() < 0.08:
        found["hostNetwork"] = True
    if rng.random() < 0.05:
        found["securityContext"] = {"runAsUser": 1000}
    if rng.random() < 0.05:
        found["dnsPolicy"] = rng.choice(("Default", "ClusterFirstWithHostNet"))
    return found


def _pod(rng: random.Random) -> Raw:
    return {"spec": _pod_spec(rng)}


def _namespace(rng: random.Random) -> Raw:
    return {"spec": {"finalizers": []}} if rng.random() < 0.1 else {}


def _peer(rng: random.Random) -> Raw:
    match rng.randrange(6):
        case 0:
            return {"ipBlock": {"cidr": rng.choice(("10.0.0.0/8", "::/0", "10.0.0.1/8", "300.0.0.0/8"))}}
        case 1:
            return {"ipBlock": {"cidr": "10.0.0.0/8", "except": [rng.choice(("10.1.0.0/16", "11.0.0.0/8"))]}}
        case 2:
            return {"namespaceSelector": _selector(rng)}
        case 3:
            return {"namespaceSelector": {}, "podSelector": _selector(rng)}
        case 4:
            return (
                {"podSelector": _selector(rng), "ipBlock": {"cidr": "0.0.0.0/0"}}
                if rng.random() < 0.1
                else {"podSelector": {}}
            )
    return {"podSelector": _selector(rng)}


def _policy_port(rng: random.Random) -> Raw:
    found: Raw = {}
    if rng.random() < 0.8:
        found["port"] = rng.choice(_PORTS if rng.random() < 0.2 else _PORTS[:4])
    if rng.random() < 0.4:
        found["protocol"] = rng.choice(("TCP", "UDP", "SCTP", "ICMP" if rng.random() < 0.1 else "TCP"))
    if rng.random() < 0.15:
        found["endPort"] = rng.choice((90, 9000))
    return found


def _policy(rng: random.Random) -> Raw:
    spec: Raw = {"podSelector": _selector(rng)}
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        if rng.random() < 0.5:
            rules: list[Raw] = []
            for _ in range(rng.choice((1, 1, 2))):
                rule: Raw = {}
                if rng.random() < 0.7:
                    rule[peers] = [_peer(rng) for _ in range(rng.choice((1, 1, 2)))]
                if rng.random() < 0.5:
                    rule["ports"] = [_policy_port(rng) for _ in range(rng.choice((1, 1, 2)))]
                rules.append(rule)
            spec[direction] = rules
    if rng.random() < 0.4:
        spec["policyTypes"] = rng.choice(
            (["Ingress"], ["Egress"], ["Ingress", "Egress"], [], ["ingress"], ["Ingress"] * 3)
        )
    return {"spec": spec}


def _service_port(rng: random.Random, index: int) -> Raw:
    found: Raw = {"port": rng.choice((80, 443, 8080)) + index}
    if rng.random() < 0.8:
        found["name"] = f"p{index}"
    if rng.random() < 0.4:
        found["targetPort"] = rng.choice((8080, "http", 0))
    if rng.random() < 0.2:
        found["protocol"] = rng.choice(("TCP", "UDP", "SCTP", "HTTP"))
    if rng.random() < 0.1:
        found["appProtocol"] = rng.choice(("http", "example.com/x"))
    return found


def _service(rng: random.Random) -> Raw:
    spec: Raw = {"ports": [_service_port(rng, index) for index in range(rng.choice((1, 1, 2, 0)))]}
    if rng.random() < 0.8:
        spec["selector"] = labels(rng)
    if rng.random() < 0.4:
        spec["type"] = rng.choice(("ClusterIP", "NodePort", "LoadBalancer", "ExternalName", "Clusterip"))
    if spec.get("type") == "ExternalName":
        spec["externalName"] = rng.choice(("example.com", "example.org"))
    if rng.random() < 0.15:
        spec["clusterIP"] = rng.choice(("1.2.3.4", "x", "")) if rng.random() < 0.4 or "type" in spec else "None"
    if rng.random() < 0.1:
        spec["sessionAffinity"] = rng.choice(("ClientIP", "None"))
    if rng.random() < 0.3 and spec.get("type") in ("NodePort", "LoadBalancer"):
        spec["externalTrafficPolicy"] = rng.choice(("Local", "Cluster"))
    if rng.random() < 0.1:
        spec["publishNotReadyAddresses"] = True
    if rng.random() < 0.05:
        spec["externalIPs"] = [rng.choice(("1.2.3.4", "1.2.3.5"))]
    return {"spec": spec}


def _deployment(rng: random.Random) -> Raw:
    own = {"app": rng.choice(("x", "y"))}
    spec: Raw = {"selector": {"matchLabels": own}}
    spec["template"] = {
        "metadata": {"labels": own if rng.random() < 0.95 else {"tier": "x"}},
        "spec": _pod_spec(rng, template=True),
    }
    if rng.random() < 0.5:
        spec["replicas"] = rng.choice((0, 1, 3, -1 if rng.random() < 0.2 else 2))
    if rng.random() < 0.2:
        rolling = {"maxSurge": rng.choice((1, "50%")), "maxUnavailable": rng.choice((1, "10%"))}
        spec["strategy"] = rng.choice(({"type": "Recreate"}, {"rollingUpdate": rolling}))
    if rng.random() < 0.1:
        spec[rng.choice(("minReadySeconds", "revisionHistoryLimit"))] = rng.choice((0, 5))
    if rng.random() < 0.1:
        spec["paused"] = True
    return {"spec": spec}


KINDS: Final = (
    Kind("Namespace", "/api/v1", "namespaces", False, _namespace),
    Kind("Pod", "/api/v1", "pods", True, _pod),
    Kind("NetworkPolicy", "/apis/networking.k8s.io/v1", "networkpolicies", True, _policy, has_status=False),
    Kind("Service", "/api/v1", "services", True, _service),
    Kind("Deployment", "/apis/apps/v1", "deployments", True, _deployment, has_scale=True),
)


def drawn(rng: random.Random, kind: Kind, name: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return a new object, now and then one that is none."""
    found = {"metadata": metadata(rng, name), **kind.draw(rng)}
    return spoilt(rng, found) if rng.random() < 0.06 else found


def changed(rng: random.Random, kind: Kind, obj: Raw) -> Any:  # noqa: ANN401 - any JSON value
    """Return an object with something else in it, as somebody edits it."""
    found = dict(obj)
    match rng.randrange(8):
        case 0 | 1:
            found["metadata"] = {**obj["metadata"], "labels": labels(rng)}
        case 2:
            found["metadata"] = {**obj["metadata"], "annotations": {"note": rng.choice(("one", "two"))}}
        case 3 | 4:
            new = kind.draw(rng)
            part = rng.choice(sorted(new.get("spec", {"": ""})))
            found["spec"] = {**obj.get("spec", {}), **({part: new["spec"][part]} if part else {})}
        case 5:
            found["metadata"] = {
                **obj["metadata"],
                "finalizers": rng.choice(([], ["example.com/keep"], ["example.com/keep", "example.com/more"])),
            }
        case 6:
            return spoilt(rng, obj)
    return found


def spoilt(rng: random.Random, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value of which one part is gone, strange, or new."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {**value, rng.choice(("color", "name", "protocol", "port")): rng.choice(_STRANGE)}
        if rng.random() < 0.15:
            return {name: item for name, item in value.items() if name != key}
        return {**value, key: spoilt(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.9:
        index = rng.randrange(len(value))
        if rng.random() < 0.15:
            return [*value, value[index]]
        if rng.random() < 0.15:
            return value[:index] + value[index + 1 :]
        return [*value[:index], spoilt(rng, value[index]), *value[index + 1 :]]
    return rng.choice(_STRANGE)


def merge_patch(rng: random.Random, kind: Kind) -> Any:  # noqa: ANN401 - any JSON value
    """Return a merge patch, which may serve as a strategic one."""
    match rng.randrange(5):
        case 0:
            return {"metadata": {"labels": {"app": rng.choice((*_VALUES, None)), "new": "1"}}}
        case 1:
            return {"metadata": {"annotations": {"note": rng.choice(("three", None))}, "finalizers": None}}
        case 2:
            found: Raw = {"spec": kind.draw(rng).get("spec", {})}
            return {"spec": {key: found["spec"][key] for key in sorted(found["spec"]) if rng.random() < 0.4}}
        case 3 if kind.name in ("Pod", "Deployment"):
            image = {"containers": [{"name": rng.choice(("main", "side")), "image": "busybox"}]}
            return {"spec": image} if kind.name == "Pod" else {"spec": {"template": {"spec": image}}}
        case 3 if kind.name == "Service":
            return {
                "spec": {
                    "ports": [{"port": rng.choice((80, 443)), "$patch": rng.choice(("delete", "replace", "merge"))}]
                }
            }
    return spoilt(rng, {"metadata": {"labels": {"app": "x"}}, "spec": kind.draw(rng).get("spec", {})})


def json_patch(rng: random.Random, kind: Kind) -> list[Raw]:
    """Return a JSON patch."""
    spec = kind.draw(rng).get("spec") or {"x": 1}
    key = rng.choice(sorted(spec))
    paths = (
        "/metadata/labels/app",
        "/metadata/labels",
        f"/spec/{key}",
        "/metadata/annotations/note",
        "/metadata/name",
        "/nope/a",
    )
    steps: list[Raw] = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        path = rng.choice(paths)
        value = (
            spec[key] if path.startswith("/spec") else {"app": "x"} if path.endswith("labels") else rng.choice(_VALUES)
        )
        step: Raw = {
            "op": rng.choice(("add", "add", "replace", "remove", "test", "copy", "move", "nope")),
            "path": path,
        }
        if step["op"] in ("copy", "move"):
            step["from"] = rng.choice(paths)
        elif step["op"] != "remove":
            step["value"] = value
        steps.append(step)
    return steps
