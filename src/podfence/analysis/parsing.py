# SPDX-License-Identifier: Apache-2.0
"""Endpoints as people write them, and what they stand for in a cluster.

shop/web  web               a pod, or the workload of that name
shop/deploy/web  deploy/web a workload by kind (kubectl's short names or the kind)
shop/svc/web                a Service, also by its DNS name
shop/*                      all pods of a namespace
shop/app=web,tier=front     a pod with exactly these labels that need not exist
203.0.113.9  10.0.0.0/8     addresses outside; internet: all that are no pod, node or Service, and public
node:NAME  node  own-node   a node by name; any but the other end's own; the other end's own
self                        the pod at the other end
apiserver                   whatever the API server runs as
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from podfence.analysis.apiserver import apiserver
from podfence.analysis.endpoints import (
    AddressesEndpoint,
    Endpoint,
    NodeEndpoint,
    PodsEndpoint,
    SelfEndpoint,
    ServiceEndpoint,
    address_end,
    service_end,
)
from podfence.analysis.spelling import address_of_pod_name, no_end, service_of, spelled
from podfence.cluster.addresses import known_addresses
from podfence.cluster.members import FINISHED_PHASES, Member, display_name
from podfence.cluster.nodes import node_addresses, numbers_of
from podfence.cluster.ownership import top_workload
from podfence.cluster.services import selected
from podfence.cluster.state import NAME_LABEL
from podfence.errors import EndpointError, nearest
from podfence.kube.objects import Key
from podfence.kube.registry import ENDS, KINDS, WORKLOADS, by_word
from podfence.kube.validation.names import label_key, label_value
from podfence.policy.world import BORN_WITH
from podfence.sets.addresses import AddressSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from podfence.cluster.state import ClusterState

_LABELS = re.compile(r"[^=,]+=[^=,]*(,[^=,]+=[^=,]*)*")
_SELECTS = re.compile(r"!=|==|\s(in|notin|exists)\b|\(|^!")
_EXISTING = BORN_WITH | {"kube-system"}
"""The namespaces that every cluster has."""

_ANYWHERE: Final = "write POD, NAMESPACE/POD, NAMESPACE/KIND/NAME, an address or node:NAME"


def parse_endpoint(state: ClusterState, text: str, namespace: str) -> Endpoint:
    """Return what a text stands for; bare names are looked up in `namespace`, and win over words such as `self`.

    Raises EndpointError saying what is wrong, and what there is instead.
    """
    text, port = spelled(text)
    if port:
        message = f"{text}:{port}: only the destination has a port, and it stands there or behind the two ends"
        raise EndpointError(message)
    if text == "internet":
        return AddressesEndpoint("internet", AddressSet.ALL - AddressSet.PRIVATE - known_addresses(state))
    if text.startswith("node:"):
        return _node(state, text)
    addresses = _addresses(text)
    if addresses is not None:
        return _outside(state, text, addresses)
    space, separator, rest = text.partition("/")
    if not separator:
        found = _by_word(state, text, namespace)
        if found is not None:
            return found
        space, rest = namespace, space
    elif space not in state.namespaces and rest and "/" not in rest:
        if _kind(state, space):
            return _by_kind(state, text, namespace, space, rest)
        if (row := by_word(space)) is not None:
            return _of_no_pods(state, text, row.name, rest)
    if not space or not rest or rest.startswith("/"):
        raise EndpointError(no_end(text) or f"{text!r} is no endpoint: {_ANYWHERE}")
    if "=" in rest or _SELECTS.search(rest):
        return _hypothetical(state, text, space, rest)
    if rest == "*":
        return _whole(state, space)
    kind_text, _, name = rest.partition("/")
    if name:
        return _by_kind(state, text, space, kind_text, name)
    return _by_name(state, space, rest)


def _by_word(state: ClusterState, text: str, namespace: str) -> Endpoint | None:
    """Return what a single word or a DNS name stands for, None for what may be the name of a pod.

    Raises EndpointError for what plainly is none.
    """
    if _named(state, namespace, text):
        return None
    match text:
        case "node":
            return NodeEndpoint("another node", "", ())
        case "own-node":
            return NodeEndpoint("the pod's own node", "", (), own=True)
        case "self":
            return SelfEndpoint()
        case "apiserver":
            return apiserver(state)
    if (service := service_of(text)) is not None:
        return _by_dns(state, text, *service)
    if address := address_of_pod_name(text):
        return _outside(state, address, AddressSet.cidr(address))
    name, _, space = text.partition(".")
    if (found := service_end(state, Key("Service", space, name))) is not None:
        return found
    if text in node_addresses(state):
        raise EndpointError(f"{text!r} is a node: write node:{text}")
    if plain := no_end(text):
        raise EndpointError(plain)
    if text in state.namespaces:
        raise EndpointError(f"{text!r} is a namespace: write {text}/* for all of its pods")
    if text == "*":
        raise EndpointError(f"{text!r} is no endpoint: write NAMESPACE/* for all pods of a namespace")
    return None


def _named(state: ClusterState, namespace: str, name: str) -> bool:
    """Return whether there is a pod or a workload of a name."""
    keys = (Key(kind, namespace, name) for kind in ("Pod", *WORKLOADS, *_custom_kinds(state)))
    return any(key in state.pods or key in state.members or state.known_workload(key) for key in keys)


def _by_dns(state: ClusterState, text: str, key: Key, pod: str) -> Endpoint:
    found = service_end(state, key)
    if found is None:
        raise EndpointError(_missing(state, text, key.namespace, key.name))
    if not pod:
        return found
    known = state.members.get(Key("Pod", key.namespace, pod))
    if known is None or known not in selected(state, found.service):
        raise EndpointError(f"{text!r}: {display_name(key)} has no pod {pod}")
    return PodsEndpoint(display_name(known.key), (known,))


def _of_no_pods(state: ClusterState, text: str, kind: str, name: str) -> Endpoint:
    """Return the node, or raise EndpointError for another kind that is known and is no end."""
    if kind == "Node":
        return _node(state, f"node:{name}")
    if kind == "Namespace":
        raise EndpointError(f"{text!r} is a namespace: write {name}/* for all of its pods")
    if kind == "Ingress":
        raise EndpointError(f"{text!r}: an Ingress sends nothing itself; name its controller's pods")
    raise EndpointError(f"{text!r}: a {kind} is no end of a connection; {_ANYWHERE}")


def _whole(state: ClusterState, namespace: str) -> PodsEndpoint:
    """Return all pods of a namespace but those that are part of their node."""
    require_namespace(state, namespace)
    members = tuple(
        member for key, member in sorted(state.members.items()) if key.namespace == namespace and not member.host
    )
    if not members:
        message = f"namespace {namespace} has no pods here; {namespace}/KEY=VALUE is a pod that need not exist"
        raise EndpointError(message)
    return PodsEndpoint(f"{namespace}/*", members, whole=True)


def _kind(state: ClusterState, word: str) -> str:
    """Return the kind of an end that a word names, "" if none: one of Kubernetes', or of a workload that was read."""
    row = by_word(word)
    if row is not None and row.name in ENDS:
        return row.name
    return next((kind for kind in _custom_kinds(state) if word.lower() in (kind.lower(), f"{kind.lower()}s")), "")


def _custom_kinds(state: ClusterState) -> set[str]:
    return {key.kind for key in state.workloads if key.kind not in WORKLOADS}


def _addresses(text: str) -> AddressSet | None:
    if not text or (text[0] not in "0123456789:abcdefABCDEF" or ("." not in text and ":" not in text)):
        return None
    try:
        return AddressSet.cidr(text)
    except ValueError:
        address, separator, _ = text.partition("/")
        if separator and _addresses(address) is not None:
            raise EndpointError(f"{text!r}: what follows the slash is no prefix length of this address") from None
        return None


def _outside(state: ClusterState, text: str, addresses: AddressSet) -> Endpoint:
    first, last = addresses.spans[0]
    if first != last:
        # Loopback never leaves the pod; in a range with others it would only make every answer "depends".
        outside = addresses - known_addresses(state) - AddressSet.LOOPBACK or addresses & AddressSet.LOOPBACK
        if not outside:
            raise EndpointError(f"every address of {text} belongs to a pod, a node or a Service: name that instead")
        return AddressesEndpoint(text, outside)
    for service in state.services.values():
        if first in numbers_of(service.addresses):
            return ServiceEndpoint(f"{display_name(service.key)} ({text})", service)
    return address_end(state, first, text)


def _node(state: ClusterState, text: str) -> NodeEndpoint:
    name = text.removeprefix("node:")
    known = node_addresses(state)
    if name not in known:
        message = f"there is no node {name!r} here{_nearest(name, known) or '; `node` is any node but the own one'}"
        raise EndpointError(message)
    return NodeEndpoint(text, name, known[name])


def _hypothetical(state: ClusterState, text: str, namespace: str, rest: str) -> PodsEndpoint:
    if not _LABELS.fullmatch(rest) or _SELECTS.search(rest):
        also = "; a pod has labels, not a selector" if _SELECTS.search(rest) else ""
        raise EndpointError(f"{text!r}: write labels as NAMESPACE/KEY=VALUE,KEY=VALUE{also}")
    if not is_named(state, namespace):
        require_namespace(state, namespace)
    labels: dict[str, str] = {}
    for key, value in (item.split("=", 1) for item in rest.split(",")):
        wrong = next(iter((*label_key(key), *label_value(value))), "")
        if wrong:
            raise EndpointError(f"{text!r}: {key}={value}: {wrong}")
        if labels.setdefault(key, value) != value:
            raise EndpointError(f"{text!r}: a pod has one value for label {key}, not {labels[key]} and {value}")
    member = Member(Key("Pod", namespace, rest), None, labels, ())
    return PodsEndpoint(text, (member,), hypothetical=True)


def _by_kind(state: ClusterState, text: str, namespace: str, kind_text: str, name: str) -> Endpoint:
    kind = _kind(state, kind_text)
    if not kind:
        known = sorted(KINDS[kind].word for kind in ENDS) + sorted(kind.lower() for kind in _custom_kinds(state))
        raise EndpointError(f"{text!r}: unknown kind {kind_text!r}; one of {', '.join(known)}")
    finders: dict[str, Callable[[ClusterState, Key], Endpoint | None]] = {"Service": service_end, "Pod": _pod}
    found = finders.get(kind, _workload)(state, Key(kind, namespace, name))
    if found is None:
        raise EndpointError(_missing(state, text, namespace, name))
    return found


def _by_name(state: ClusterState, namespace: str, name: str) -> Endpoint:
    """Return the pod of a name, else the one workload of that name."""
    pod = _pod(state, Key("Pod", namespace, name))
    if pod is not None:
        return pod
    keys = [Key(kind, namespace, name) for kind in (*WORKLOADS, *sorted(_custom_kinds(state)))]
    found = [endpoint for key in keys if (endpoint := _workload(state, key)) is not None]
    if len(found) > 1:
        raise EndpointError(f"{namespace}/{name} is ambiguous: {', '.join(item.name for item in found)}")
    if not found:
        raise EndpointError(_missing(state, f"{namespace}/{name}", namespace, name))
    return found[0]


def _pod(state: ClusterState, key: Key) -> PodsEndpoint | None:
    member = state.members.get(key)
    if member is not None:
        return PodsEndpoint(display_name(key), (member,))
    pod = state.pods.get(key)
    if pod is not None and pod.phase in FINISHED_PHASES:
        message = f"{display_name(key)} has finished ({pod.phase}): it has given up its address and is not judged"
        raise EndpointError(message)
    return None


def _workload(state: ClusterState, key: Key) -> PodsEndpoint | None:
    """Return the pods of a workload; an older revision of a Deployment is answered with the Deployment's."""
    if not state.known_workload(key):
        return None
    members = state.workload_pods(key)
    if not members and (workload := state.workloads.get(key)) is not None:
        key = top_workload(workload, state.workloads)
        members = state.workload_pods(key)
    if not members:
        raise EndpointError(f"all pods of {display_name(key)} have finished: there is nothing to judge")
    return PodsEndpoint(display_name(key), tuple(members))


def is_named(state: ClusterState, namespace: str) -> bool:
    """Return whether a namespace is known, is in every cluster, or is named by a policy's peer."""
    return (
        namespace in state.namespaces
        or namespace in _EXISTING
        or any(
            term.key == NAME_LABEL and term.operator == "In" and namespace in term.values
            for table in state.policies.values()
            for policy in table.values()
            for peer in policy.peers()
            if peer.namespace_selector is not None
            for term in peer.namespace_selector.requirements
        )
    )


def require_namespace(state: ClusterState, namespace: str) -> None:
    """Raise EndpointError if a namespace does not exist, with the nearest that does."""
    if namespace not in state.namespaces:
        message = f"there is no namespace {namespace!r} here"
        if namespace == "default":
            message += "; names without a namespace are looked up there, unless -n says where"
        else:
            also = "; a Namespace object of that name is enough to ask about it"
            message += _nearest(namespace, state.namespaces) or also
        raise EndpointError(message)


def _missing(state: ClusterState, text: str, namespace: str, name: str) -> str:
    require_namespace(state, namespace)
    here = {display_name(member.owner) for member in state.members.values() if member.namespace == namespace}
    here |= {display_name(key) for key in state.services if key.namespace == namespace}
    near = nearest(name, [item.rsplit("/", 1)[-1] for item in here])
    full = next((item for item in sorted(here) if near and item.rsplit("/", 1)[-1] == near), None)
    hint = f"; did you mean {full}?" if full else _some(here, namespace)
    if text == "default/svc/kubernetes":
        hint = "; `apiserver` means the API server"
    what = "Service" if text.startswith(f"{namespace}/svc/") else "pod or workload"
    return f"there is no {what} {text}{hint}"


def _some(names: set[str], namespace: str) -> str:
    if not names:
        return f"; namespace {namespace} has none"
    shown = sorted(names)[:5]
    more = ", …" if len(names) > len(shown) else ""
    return f"; namespace {namespace} has {', '.join(shown)}{more}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = nearest(name, sorted(known))
    return f"; did you mean {near}?" if near else ""
