# SPDX-License-Identifier: Apache-2.0
"""Objects that cannot be compiled, kept out before they are in the model: one of them must not stop the rest.

What reads manifests, and the API server, refuse such objects; an agent does not rely on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from podfence.cluster.state import Event, EventType
from podfence.kube.objects import Namespace, NetworkPolicy, Node
from podfence.kube.validation.names import dns_label, dns_subdomain
from podfence.policy.legacy import compile_namespace
from podfence.sets import AddressSet

if TYPE_CHECKING:
    from podfence.kube.objects import KubeObject
    from podfence.policy.options import Options


def accept(event: Event, options: Options) -> tuple[Event | None, str]:
    """Return what to take in, and a sentence about what is wrong with the event ("" if nothing is).

    A policy that cannot be compiled becomes one that admits nothing to the pods it selects, because what cannot
    be understood stays closed; of other objects the last good one stays (None).
    """
    if event.type is EventType.DELETED:
        return event, ""
    reason = _problem(event.object, options)
    if not reason:
        return event, ""
    item = event.object
    if isinstance(item, NetworkPolicy):
        closed = replace(item, ingress=(), egress=())
        if not _problem(closed, options):
            message = f"{item.key} cannot be compiled and admits nothing until it is corrected: {reason}"
            return Event(event.type, closed), message
    return None, f"{item.key} cannot be used; its last version stays in force until it is corrected: {reason}"


def _problem(item: KubeObject, options: Options) -> str:
    if isinstance(item, NetworkPolicy):
        # Names are written into the comments of rules, and one that nft cannot take would stop every transaction.
        found = (*dns_subdomain(item.name), *dns_label(item.namespace))
        if found:
            return found[0]
    try:
        if isinstance(item, NetworkPolicy):
            compile_namespace(Namespace(name=item.namespace, labels={}), (item,), options)
        elif isinstance(item, Node):
            for text in item.pod_cidrs:
                AddressSet.cidr(text)
    except Exception as error:  # noqa: BLE001 - whatever it is, only this object may suffer from it
        return str(error) or type(error).__name__
    return ""
