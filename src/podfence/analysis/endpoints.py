# SPDX-License-Identifier: Apache-2.0
"""Endpoints as people write them, and what they stand for in a cluster.

shop/web  web               a pod, or the workload of that name
shop/deploy/web             a workload by kind (kubectl's short names or the kind)
shop/svc/web                a Service
shop/app=web,tier=front     a pod with exactly these labels that need not exist
203.0.113.9  10.0.0.0/8     addresses outside; internet: all that are no pod, node or Service, and public
node:NAME                   a node
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from podfence.cluster.addresses import known_addresses, owner_of
from podfence.cluster.members import FINISHED_PHASES, Member, display_name
from podfence.cluster.nodes import node_addresses
from podfence.errors import EndpointError
from podfence.kube.objects import ContainerPort, Key
from podfence.kube.registry import ENDS, KINDS, WORKLOADS, by_word
from podfence.sets.addresses import AddressSet, format_address, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.cluster.state import ClusterState
    from podfence.kube.objects import Service

_LABELS = re.compile(r"[^=,]+=[^=,]*(,[^=,]+=[^=,]*)*")


@dataclass(frozen=True, slots=True)
class PodsEndpoint:
    """One or more pods: a pod, a workload's pods, or a pod that need not exist (`hypothetical`)."""

    name: str
    members: tuple[Member, ...]
    hypothetical: bool = False


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """A Service, judged on its backends."""

    name: str
    service: Service


@dataclass(frozen=True, slots=True)
class AddressesEndpoint:
    """Addresses outside the cluster, those of pods, nodes and Services taken out of ranges."""

    name: str
    addresses: AddressSet


@dataclass(frozen=True, slots=True)
class NodeEndpoint:
    """A node by name; `addresses` are empty when they are not known."""

    name: str
    node: str
    addresses: tuple[int, ...]


Endpoint = PodsEndpoint | ServiceEndpoint | AddressesEndpoint | NodeEndpoint


def parse_endpoint(state: ClusterState, text: str, namespace: str) -> Endpoint:
    """Return what a text stands for; bare names are looked up in `namespace`.

    Raises EndpointError saying what is wrong, and what there is instead.
    """
    if text == "internet":
        return AddressesEndpoint("internet", AddressSet.ALL - AddressSet.PRIVATE - known_addresses(state))
    if text.startswith("node:"):
        return _node(state, text)
    addresses = _addresses(text)
    if addresses is not None:
        return _outside(state, text, addresses)
    space, separator, rest = text.partition("/")
    if not separator:
        space, rest = namespace, space
    elif _kind(state, space) and space not in state.namespaces and rest and "/" not in rest:
        return _by_kind(state, text, namespace, space, rest)
    if not space or not rest:
        message = f"{text!r} is no endpoint: write POD, NAMESPACE/POD, NAMESPACE/KIND/NAME, an address or node:NAME"
        raise EndpointError(message)
    if "=" in rest:
        return _hypothetical(state, text, space, rest)
    kind_text, _, name = rest.partition("/")
    if name:
        return _by_kind(state, text, space, kind_text, name)
    return _by_name(state, space, rest)


def namespaces_of(end: Endpoint) -> frozenset[str]:
    """Return the namespaces of the pods that an end stands for; none for what is no pod and no Service."""
    match end:
        case PodsEndpoint():
            return frozenset(member.namespace for member in end.members)
        case ServiceEndpoint():
            return frozenset({end.service.namespace})
    return frozenset()


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
            message = f"{text!r}: what follows the slash is no prefix length of this address"
            raise EndpointError(message) from None
        return None


def _outside(state: ClusterState, text: str, addresses: AddressSet) -> Endpoint:
    first, last = addresses.spans[0]
    if first != last:
        # Loopback never leaves the pod; in a range with others it would only make every answer "depends".
        outside = addresses - known_addresses(state) - AddressSet.LOOPBACK or addresses & AddressSet.LOOPBACK
        if not outside:
            message = f"every address of {text} belongs to a pod, a node or a Service: name that instead"
            raise EndpointError(message)
        return AddressesEndpoint(text, outside)
    for service in state.services.values():
        if any(parse_address(item) == first for item in service.addresses if _addresses(item) is not None):
            return ServiceEndpoint(f"{display_name(service.key)} ({text})", service)
    return address_end(state, first, text)


def address_end(state: ClusterState, number: int, text: str = "") -> PodsEndpoint | NodeEndpoint | AddressesEndpoint:
    """Return what has an address after translation: a pod, a node, or something outside, called `text`."""
    shown = text or format_address(number)
    member = owner_of(state, number)
    if member is not None:
        return PodsEndpoint(f"{display_name(member.key)} ({shown})", (replace(member, addresses=(number,)),))
    for name, numbers in node_addresses(state).items():
        if number in numbers:
            return NodeEndpoint(f"node:{name} ({shown})", name, (number,))
    return AddressesEndpoint(shown, AddressSet.single(number))


def _node(state: ClusterState, text: str) -> NodeEndpoint:
    name = text.removeprefix("node:")
    known = node_addresses(state)
    if name not in known:
        message = f"there is no node {name!r}{_nearest(name, known)}"
        raise EndpointError(message)
    return NodeEndpoint(text, name, known[name])


def _hypothetical(state: ClusterState, text: str, namespace: str, rest: str) -> PodsEndpoint:
    if not _LABELS.fullmatch(rest):
        message = f"{text!r}: write labels as NAMESPACE/KEY=VALUE,KEY=VALUE"
        raise EndpointError(message)
    require_namespace(state, namespace)
    labels = dict(item.split("=", 1) for item in rest.split(","))
    ports: tuple[ContainerPort, ...] = ()
    member = Member(Key("Pod", namespace, rest), None, labels, ports)
    return PodsEndpoint(text, (member,), hypothetical=True)


def _by_kind(state: ClusterState, text: str, namespace: str, kind_text: str, name: str) -> Endpoint:
    kind = _kind(state, kind_text)
    if not kind:
        known = sorted(KINDS[kind].word for kind in ENDS) + sorted(kind.lower() for kind in _custom_kinds(state))
        message = f"{text!r}: unknown kind {kind_text!r}; one of {', '.join(known)}"
        raise EndpointError(message)
    key = Key(kind, namespace, name)
    if kind == "Service":
        service = state.services.get(key)
        if service is None:
            raise EndpointError(_missing(state, text, namespace, name))
        return ServiceEndpoint(display_name(key), service)
    if kind == "Pod":
        return _pod(state, key) or _fail(_missing(state, text, namespace, name))
    return _workload(state, key) or _fail(_missing(state, text, namespace, name))


def _by_name(state: ClusterState, namespace: str, name: str) -> Endpoint:
    """Return the pod of a name, else the one workload of that name."""
    pod = _pod(state, Key("Pod", namespace, name))
    if pod is not None:
        return pod
    keys = [Key(kind, namespace, name) for kind in (*WORKLOADS, *sorted(_custom_kinds(state)))]
    found = [endpoint for key in keys if (endpoint := _workload(state, key)) is not None]
    if len(found) > 1:
        message = f"{namespace}/{name} is ambiguous: {', '.join(item.name for item in found)}"
        raise EndpointError(message)
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
        key = state.top_workload(workload)
        members = state.workload_pods(key)
    if not members:
        message = f"all pods of {display_name(key)} have finished: there is nothing to judge"
        raise EndpointError(message)
    return PodsEndpoint(display_name(key), tuple(members))


def require_namespace(state: ClusterState, namespace: str) -> None:
    """Raise EndpointError if a namespace does not exist, with the nearest that does."""
    if namespace not in state.namespaces:
        message = f"there is no namespace {namespace!r}{_nearest(namespace, state.namespaces)}"
        if namespace == "default":
            message += "; names without a namespace are looked up there, unless -n says where"
        raise EndpointError(message)


def _missing(state: ClusterState, text: str, namespace: str, name: str) -> str:
    require_namespace(state, namespace)
    here = {
        display_name(member.workload or member.key)
        for member in state.members.values()
        if member.namespace == namespace
    }
    here |= {display_name(key) for key in state.services if key.namespace == namespace}
    near = difflib.get_close_matches(name, [item.rsplit("/", 1)[-1] for item in here], n=1)
    full = next((item for item in sorted(here) if near and item.rsplit("/", 1)[-1] == near[0]), None)
    hint = f"; did you mean {full}?" if full else _some(here, namespace)
    return f"there is no pod or workload {text}{hint}"


def _some(names: set[str], namespace: str) -> str:
    if not names:
        return f"; namespace {namespace} has none"
    shown = sorted(names)[:5]
    more = ", …" if len(names) > len(shown) else ""
    return f"; namespace {namespace} has {', '.join(shown)}{more}"


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _fail(message: str) -> PodsEndpoint:
    raise EndpointError(message)
