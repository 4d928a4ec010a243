# SPDX-License-Identifier: Apache-2.0
"""Generated objects as manifests: the YAML that ``kubectl get -o yaml`` would show, without what never matters.

``python -m bench.manifests FOLDER PODS NAMESPACES POLICIES SEED MODE`` writes them, one file for each kind.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.generator import generate
from bench.size import Size
from podfence.kube.objects import (
    KubeObject,
    Namespace,
    NetworkPolicy,
    Node,
    Pod,
    PodTemplate,
    PolicyPort,
    Rule,
    Selector,
    Service,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Json = dict[str, Any]

_PLAIN: Final = re.compile(r"[A-Za-z/](?:[\w./:-]*\w)?|\d+(?:\.\d+){3}(?:/\d+)?|\d+(?:m|Mi)")
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_OWNER_VERSIONS: Final = {"ReplicaSet": "apps/v1", "StatefulSet": "apps/v1", "DaemonSet": "apps/v1"}


def manifest(item: KubeObject) -> Json:
    """Return the manifest of an object of a kind that `bench.generator` makes."""
    match item:
        case Namespace():
            return {**_head("v1", "Namespace", "", item.name), "metadata": {"name": item.name, "labels": item.labels}}
        case Node():
            return _node(item)
        case Pod():
            return _pod(item)
        case Workload():
            return _deployment(item)
        case Service():
            return _service(item)
        case NetworkPolicy():
            return _policy(item)
        case _:
            message = f"a {type(item).__name__} is never generated"
            raise TypeError(message)


def text(objects: Iterable[KubeObject]) -> str:
    """Return objects as one stream of YAML documents."""
    return "".join("---\n" + "".join(_lines(manifest(item), "")) for item in objects)


def write(objects: Iterable[KubeObject], folder: Path) -> None:
    """Write objects to `folder`, which is made, as one file for each kind."""
    kinds: dict[str, list[KubeObject]] = {}
    for item in objects:
        kinds.setdefault(item.key.kind, []).append(item)
    folder.mkdir(parents=True)
    for kind, items in kinds.items():
        (folder / f"{kind.lower()}.yaml").write_text(text(items))


def _lines(value: Json, indent: str, first: str | None = None) -> Iterator[str]:
    """Yield a mapping in block style; `first` is what stands before its first key, as in a list."""
    before = indent if first is None else first
    for key, item in value.items():
        yield before + _scalar(key)
        before = indent
        if isinstance(item, dict) and item:
            yield ":\n"
            yield from _lines(item, indent + "  ")
        elif isinstance(item, list) and item:
            yield ":\n"
            for entry in item:
                if isinstance(entry, dict) and entry:
                    yield from _lines(entry, indent + "  ", indent + "- ")
                else:
                    yield f"{indent}- {_scalar(entry)}\n"
        else:
            yield f": {_scalar(item)}\n"


def _scalar(value: object) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value)


def _uid(*names: str) -> str:
    digest = hashlib.blake2b("/".join(names).encode(), digest_size=16).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]))


def _head(version: str, kind: str, namespace: str, name: str) -> Json:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _node(node: Node) -> Json:
    head = _head("v1", "Node", "", node.name)
    head["metadata"]["labels"] = node.labels
    return {
        **head,
        "spec": {"podCIDR": node.pod_cidrs[0], "podCIDRs": list(node.pod_cidrs)},
        "status": {
            "addresses": [
                *({"address": text, "type": "InternalIP"} for text in node.addresses),
                {"address": node.name, "type": "Hostname"},
            ]
        },
    }


def _container(name: str, template: PodTemplate) -> Json:
    ports = [{"containerPort": p.number, "name": p.name, "protocol": p.protocol} for p in template.ports]
    return {
        "name": name,
        "image": f"{name}:1.4.2",
        "ports": ports,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    }


def _pod(pod: Pod) -> Json:
    assert pod.owner is not None
    head = _head("v1", "Pod", pod.namespace, pod.name)
    owner = {
        "apiVersion": _OWNER_VERSIONS[pod.owner.kind],
        "controller": True,
        "kind": pod.owner.kind,
        "name": pod.owner.name,
        "uid": _uid(pod.namespace, pod.owner.name),
    }
    head["metadata"].update(
        creationTimestamp=pod.created,
        labels=pod.template.labels,
        ownerReferences=[owner],
        uid=_uid(pod.namespace, pod.name),
    )
    spec: Json = {"containers": [_container(pod.template.labels["app"], pod.template)]}
    if pod.template.host_network:
        spec["hostNetwork"] = True
    spec["nodeName"] = pod.template.node
    status = {
        "hostIP": pod.node_addresses[0],
        "phase": pod.phase,
        "podIP": pod.addresses[0],
        "podIPs": [{"ip": address} for address in pod.addresses],
    }
    return {**head, "spec": spec, "status": status}


def _deployment(workload: Workload) -> Json:
    labels = workload.template.labels
    return {
        **_head("apps/v1", workload.kind, workload.namespace, workload.name),
        "spec": {
            "replicas": workload.replicas,
            "selector": {"matchLabels": {"app": workload.name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [_container(workload.name, workload.template)]},
            },
        },
    }


def _service(service: Service) -> Json:
    ports = [{"name": p.name, "port": p.port, "protocol": p.protocol, "targetPort": p.target} for p in service.ports]
    address = "None" if service.headless else service.addresses[0]
    return {
        **_head("v1", "Service", service.namespace, service.name),
        "spec": {"clusterIP": address, "ports": ports, "selector": service.selector, "type": service.type},
    }


def _policy(policy: NetworkPolicy) -> Json:
    spec: Json = {"podSelector": _selector(policy.pod_selector), "policyTypes": list(policy.policy_types)}
    if policy.ingress:
        spec["ingress"] = [_rule(rule, "from") for rule in policy.ingress]
    if policy.egress:
        spec["egress"] = [_rule(rule, "to") for rule in policy.egress]
    return {**_head(policy.api_version, "NetworkPolicy", policy.namespace, policy.name), "spec": spec}


def _selector(selector: Selector) -> Json:
    """Write leading requirements of one value as labels, as people do, and the others as expressions."""
    labels: dict[str, str] = {}
    expressions: list[Json] = []
    for term in selector.requirements:
        if not expressions and term.operator == "In" and len(term.values) == 1:
            labels[term.key] = term.values[0]
        else:
            values = {"values": list(term.values)} if term.values else {}
            expressions.append({"key": term.key, "operator": term.operator, **values})
    result: Json = {"matchLabels": labels} if labels else {}
    return {**result, "matchExpressions": expressions} if expressions else result


def _rule(rule: Rule, peers: str) -> Json:
    written: Json = {}
    if rule.peers:
        written[peers] = []
        for peer in rule.peers:
            entry: Json = {}
            if peer.namespace_selector is not None:
                entry["namespaceSelector"] = _selector(peer.namespace_selector)
            if peer.pod_selector is not None:
                entry["podSelector"] = _selector(peer.pod_selector)
            if peer.ip_block is not None:
                excepts = {"except": list(peer.ip_block.excepts)} if peer.ip_block.excepts else {}
                entry["ipBlock"] = {"cidr": peer.ip_block.cidr, **excepts}
            written[peers].append(entry)
    if rule.ports:
        written["ports"] = [_port(port) for port in rule.ports]
    return written


def _port(port: PolicyPort) -> Json:
    end = {} if port.end_port is None else {"endPort": port.end_port}
    return {"protocol": port.protocol, "port": port.port, **end}


if __name__ == "__main__":
    write(generate(Size.of(sys.argv[2:])), Path(sys.argv[1]))
