# SPDX-License-Identifier: Apache-2.0
"""EndpointSlices: the pods behind each Service that has a selector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.services import selected, target_number
from podfence.kube.objects import Service
from podfence.lab.objects.inventory import is_going
from podfence.lab.objects.owners import Place, makers, place_of, reference_to
from podfence.lab.store.metadata import short_name
from podfence.sets.addresses import family_of, format_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.cluster.members import Member
    from podfence.lab.objects.inventory import Inventory
    from podfence.lab.store.history import Change
    from podfence.lab.store.metadata import Raw

_SLICES: Final = "endpointslices.discovery.k8s.io"
_SERVICES: Final = "services"
_SERVICE_NAME: Final = "kubernetes.io/service-name"
_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_TYPES: Final = {4: "IPv4", 6: "IPv6"}

Ports = tuple[tuple[str, str, int], ...]
"""Name, protocol and number of the ports of a pod that a Service leads to."""


class EndpointSlices:
    """The controller that keeps them: of each Service one for each family, and for pods with the same ports."""

    def __init__(self, inventory: Inventory) -> None:
        """Look after the slices of the Services of a store."""
        self._inventory = inventory
        self._store = inventory.store

    def woken_by(self, change: Change) -> Iterator[Place]:
        """Yield the Services that a change concerns."""
        if change.resource == _SERVICES:
            yield place_of(_SERVICES, change.object)
        elif change.resource == _SLICES:
            yield from makers(change, _SERVICES)
        elif change.resource == "pods":
            known = [version["metadata"] for version in (change.object, change.previous) if version is not None]
            labels = [(item.get("labels") or {}).items() for item in known]
            namespace = known[0]["namespace"]
            for service in self._inventory.view.state.services.values():
                wanted = (service.selector or {}).items()
                if wanted and service.namespace == namespace and any(wanted <= has for has in labels):
                    yield Place(_SERVICES, namespace, service.name)

    def tend(self, place: Place) -> None:
        """Write the slices of a Service, and delete those that nothing is in any more."""
        obj, service = self._inventory.find(place), self._inventory.typed(place)
        if obj is None or is_going(obj) or not isinstance(service, Service) or service.selector is None:
            return
        have = {item["metadata"]["name"]: item for item in self._inventory.owned(obj, _SLICES)}
        for name, kind, ports, members in self._wanted(service, obj):
            wanted = self._written(obj, name, kind, ports, members)
            if name in have:
                known = {**have.pop(name)["metadata"], **wanted["metadata"], "resourceVersion": None}
                self._store.update(_SLICES, {**wanted, "metadata": known})
            else:
                self._store.create(_SLICES, wanted)
        for name in have:
            self._store.delete(_SLICES, place.namespace, name)

    def _wanted(self, service: Service, obj: Raw) -> Iterable[tuple[str, int, Ports, list[tuple[str, Member]]]]:
        """Yield name, family, ports, and pods with their addresses of each slice; one without pods for none."""
        families: list[int] = [4 if name == "IPv4" else 6 for name in obj["spec"].get("ipFamilies") or ("IPv4",)]
        groups: dict[tuple[int, Ports], list[tuple[str, Member]]] = {}
        for member in selected(self._inventory.view.state, service):
            if member.pod is None:
                continue
            numbers = [(port.name, port.protocol, target_number(member, port)) for port in service.ports]
            own: Ports = tuple((name, protocol, number) for name, protocol, number in numbers if number is not None)
            for address in member.addresses if own or not service.ports else ():
                groups.setdefault((family_of(address), own), []).append((format_address(address), member))
        for family in families:
            found = [(ports, groups[other, ports]) for other, ports in sorted(groups) if other == family]
            for index, (ports, members) in enumerate(found or [((), [])]):
                seed = f"{service.namespace}/{service.name}/{family}/{index}"
                yield f"{service.name}-{short_name(seed)}", family, ports, members

    def _written(self, obj: Raw, name: str, family: int, ports: Ports, members: list[tuple[str, Member]]) -> Raw:
        known = obj["metadata"]
        labels = {
            **(known.get("labels") or {}),
            _SERVICE_NAME: known["name"],
            _MANAGED_BY: "endpointslice-controller.k8s.io",
        }
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "generateName": f"{known['name']}-",
                "namespace": known["namespace"],
                "labels": labels,
                "ownerReferences": [reference_to(obj)],
            },
            "addressType": _TYPES[family],
            "endpoints": [self._endpoint(address, member) for address, member in members],
            "ports": [{"name": name, "protocol": protocol, "port": number} for name, protocol, number in ports],
        }

    def _endpoint(self, address: str, member: Member) -> Raw:
        pod = self._inventory.find(Place("pods", member.namespace, member.key.name)) or {"metadata": {}}
        going = member.pod is not None and member.pod.terminating
        runs = member.pod is not None and member.pod.phase == "Running"
        return {
            "addresses": [address],
            "conditions": {"ready": runs and not going, "serving": runs, "terminating": going},
            "nodeName": member.node,
            "targetRef": {
                "kind": "Pod",
                "namespace": member.namespace,
                "name": member.key.name,
                "uid": pod["metadata"].get("uid", ""),
            },
        }
