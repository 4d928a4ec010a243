# SPDX-License-Identifier: Apache-2.0
"""Who may connect to a load balancer: `loadBalancerSourceRanges` of a Service (semantics 7.17).

No policy says it, and Kubernetes leaves open who enforces it: the load balancer, the nodes, or nobody. So what policies
deny stays denied, and what they allow is sure for sources inside the ranges only.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from podfence.analysis.endpoints import AddressesEndpoint, ServiceEndpoint
from podfence.policy.ends import AddressEnd, PodEnd
from podfence.policy.engine import kind_of
from podfence.policy.unknown import address, node_address, option
from podfence.policy.verdict import Decision
from podfence.sets import AddressSet, spans
from podfence.sets.addresses import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.endpoints import Endpoint
    from podfence.analysis.lines import Outside
    from podfence.analysis.parts import Part
    from podfence.analysis.view import View
    from podfence.kube.objects import Service
    from podfence.policy.engine import Engine
    from podfence.policy.verdict import Dependency

_OPTION = "source-ranges"


def ranges_of(service: Service) -> AddressSet | None:
    """Return the addresses that may connect to the load balancer of a Service, None for all."""
    if not service.source_ranges:
        return None
    found: list[tuple[int, int]] = []
    for text in service.source_ranges:
        try:
            found += AddressSet.cidr(text).spans
        except ValueError:
            continue
    return AddressSet(spans.normalize(found))


# A question taken apart


def limited(engine: Engine, source: Endpoint, destination: ServiceEndpoint, parts: list[Part]) -> list[Part]:
    """Return the parts of a question to a Service, what its load balancer may drop with what that depends on.

    From outside the cluster that is also what the Service is asked by its name, from inside only what is sent to the
    load balancer's address.
    """
    ranges = ranges_of(destination.service)
    comes_by = destination.at_balancer or (destination.at is None and isinstance(source, AddressesEndpoint))
    if ranges is None or not comes_by or engine.options.source_ranges == "ignored":
        return parts
    return [found for part in parts for found in _limited(engine, source, destination, part, ranges)]


def _limited(
    engine: Engine, source: Endpoint, destination: ServiceEndpoint, part: Part, ranges: AddressSet
) -> Iterator[Part]:
    if part.decision is Decision.DENIED:
        yield part
        return
    texts = ", ".join(destination.service.source_ranges)
    why = f"cannot be reached: loadBalancerSourceRanges of {destination.name} are {texts}", "7.17"
    for found, is_inside in _apart(engine, source, part, ranges):
        dropped = replace(found, decision=Decision.DENIED, plain=why, extent=None)
        if is_inside:
            yield found
        elif engine.options.source_ranges == "enforced":
            yield dropped
        else:
            yield _where(found, option(_OPTION), "its source ranges are ignored")
            yield _where(dropped, option(_OPTION), "its source ranges are enforced")


def _where(part: Part, what: Dependency, how: str) -> Part:
    """Return a part as one of those that something decides between."""
    pair = part.pair
    variant = f"{pair.variant} and {how}" if pair.variant else f"where {how}"
    return replace(part, pair=replace(pair, matter=(*pair.matter, what), variant=variant))


def _apart(engine: Engine, source: Endpoint, part: Part, ranges: AddressSet) -> Iterator[tuple[Part, bool]]:
    """Yield the pieces of a part with whether they come from inside the ranges."""
    end = part.pair.source
    if isinstance(end, AddressEnd):
        asked = part.pair.addresses or AddressSet.single(end.address)
        for piece, is_inside in ((asked & ranges, True), (asked - ranges, False)):
            if piece:
                yield _with_addresses(part, piece), is_inside
    elif isinstance(source, AddressesEndpoint):
        # It arrives with the address of a node, and came from the client's.
        yield part, source.addresses <= ranges
    elif end.address is not None:
        yield part, end.address in ranges
    elif (found := engine.world.holds_unset(ranges, kind_of(end), end.family)) is not None:
        yield part, found
    else:
        what = address(part.pair.source_name) if isinstance(end, PodEnd) else node_address(end.name)
        yield _where(part, what, "it has an address in the source ranges"), True
        yield _where(part, what, "it has no address in the source ranges"), False


def _with_addresses(part: Part, addresses: AddressSet) -> Part:
    pair = part.pair
    end = replace(pair.source, address=addresses.spans[0][0]) if isinstance(pair.source, AddressEnd) else pair.source
    return replace(part, pair=replace(pair, source=end, addresses=addresses))


# A listing


class Limit(Struct, frozen=True):
    """What a listing of connections to a load balancer says of sources outside its ranges.

    `pods` are the classes (bits) of pods that may be outside; none, if pods are led there by another way.
    """

    ranges: AddressSet
    pods: int
    enforced: bool

    def of_pods(self, bits: int, depends: str) -> Iterator[tuple[int, str]]:
        """Yield pods that may connect, with what that depends on."""
        if bits & ~self.pods:
            yield bits & ~self.pods, depends
        if bits & self.pods and not self.enforced:
            yield bits & self.pods, _also(depends)

    def of_addresses(self, found: Outside) -> Outside:
        """Return the classes that addresses outside may connect to, by these, their ports, and what that depends on."""
        result: Outside = defaultdict(int)
        for (addresses, ports, depends), bits in found.items():
            if inside := addresses & self.ranges:
                result[inside, ports, depends] |= bits
            if (outside := addresses - self.ranges) and not self.enforced:
                result[outside, ports, _also(depends)] |= bits
        return result


def _also(depends: str) -> str:
    """Return what a connection depends on, with whether the ranges are enforced."""
    if depends.startswith("depends on "):
        return f"{depends}, {_OPTION}"
    return f"{depends}, depends on {_OPTION}" if depends else f"depends on {_OPTION}"


def limit_of(view: View, destination: Endpoint | None) -> Limit | None:
    """Return what a listing of connections to an end says of source ranges, None if it has none that matter."""
    if not isinstance(destination, ServiceEndpoint) or view.engine.options.source_ranges == "ignored":
        return None
    ranges = ranges_of(destination.service)
    if ranges is None or not (destination.at is None or destination.at_balancer):
        return None
    pods = 0
    for family in FAMILIES if destination.at_balancer else ():
        assumed = family in view.engine.assumed_families()
        outside = view.index.in_family(family, assumed=assumed) & ~view.index.with_address_in(ranges, family)
        if view.engine.world.holds_unset(ranges, "Pod", family):
            outside &= ~view.index.unaddressed
        pods |= outside
    return Limit(ranges, pods, view.engine.options.source_ranges == "enforced")
