# SPDX-License-Identifier: Apache-2.0
"""NetworkPolicies that one tenant may write to be as costly as possible to those who enforce them.

`SHAPES` are functions of two sizes, called R (for rules) and C (for what is in each), that return the objects of
one namespace: the pods of a node and the policies. All policies are ones that the API server takes.

    python -m bench.hostile SHAPE R C       in a network namespace of its own: the last policy, from event to kernel
"""

from __future__ import annotations

import json
import resource
import sys
import time
from functools import reduce
from random import Random
from typing import TYPE_CHECKING, Final

from bench.policies import NAME_LABEL, labelled
from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane.enforcer import Enforcer
from podfence.kube.objects import (
    ContainerPort,
    IPBlock,
    Namespace,
    NetworkPolicy,
    Peer,
    Pod,
    PodTemplate,
    PolicyPort,
    Requirement,
    Rule,
    Selector,
)
from podfence.nft.direct import DirectRunner
from podfence.policy.budget import BUDGETS, Size
from podfence.policy.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from podfence.kube.objects import KubeObject

NAMESPACE: Final = "hostile"
OTHER: Final = "other"
NODE: Final = "n1"
_LABELS: Final = 11
_EVERYONE: Final = Selector()
_EVERYWHERE: Final = "0.0.0.0/0"


def nested(rules: int, count: int) -> list[KubeObject]:
    """Return rules that all admit everywhere, each a port of its own, and one with many addresses inside."""
    wide = [_rule([_block(_EVERYWHERE)], 1000 + i) for i in range(rules)]
    return [*_pods(1), _policy("p", [*wide, _rule([_block(_address(2 * i)) for i in range(count)], 1)])]


def excepts(rules: int, count: int) -> list[KubeObject]:
    """Return rules that all admit everywhere but many addresses that nearly no other rule leaves out."""
    return [*_pods(1), _policy("p", [_wide(_scattered(i, count), 1000 + i) for i in range(rules)])]


def same_port(rules: int, count: int) -> list[KubeObject]:
    """Return the same, all rules with one port."""
    return [*_pods(1), _policy("p", [_wide(_scattered(i, count), 443) for i in range(rules)])]


def subsets(rules: int, count: int) -> list[KubeObject]:
    """Return rules that all admit everywhere but many addresses; each address is left out by other rules."""
    left_out: list[list[str]] = [[] for _ in range(rules)]
    for number in range(rules * count // 2):
        one = number % rules
        for rule in {one, (one + 1 + number // rules) % rules}:
            left_out[rule].append(_address(2 * number))
    return [*_pods(1), _policy("p", [_wide(blocks, 1000 + i) for i, blocks in enumerate(left_out)])]


def overlapping_ports(rules: int, count: int) -> list[KubeObject]:
    """Return rules with ranges of ports inside each other, for everywhere but many addresses."""
    written = [
        Rule((_block(_EVERYWHERE, _scattered(i, count)),), (PolicyPort("TCP", 30000 - i, 30001 + i),))
        for i in range(rules)
    ]
    return [*_pods(1), _policy("p", written)]


def cut_up(rules: int, count: int) -> list[KubeObject]:
    """Return rules that each admit nearly all ports of an address, after one that admits many ports everywhere."""
    ports = tuple(PolicyPort("TCP", 1 + 2 * i) for i in range(count))
    blocks = [Rule((_block(_address(2 * i)),), (PolicyPort("TCP", 1, 65535 - i),)) for i in range(rules)]
    return [*_pods(1), _policy("p", [Rule((), ports), *blocks])]


def many_ports(rules: int, count: int) -> list[KubeObject]:
    """Return rules without peers, each with many ports."""
    return [*_pods(1), _policy("p", [Rule((), tuple(PolicyPort("TCP", 1 + 2 * i) for i in range(count)))] * rules)]


def selectors(rules: int, count: int) -> list[KubeObject]:
    """Return rules with many selectors of pods."""
    peers = tuple(Peer(labelled(k=f"v{i}")) for i in range(count))
    return [*_pods(1), _policy("p", [Rule(peers, (PolicyPort("TCP", 1000 + i),)) for i in range(rules)])]


def different_selectors(rules: int, count: int) -> list[KubeObject]:
    """Return rules with many selectors of pods in any namespace, all different, each for nearly all pods."""
    written = [
        Rule(
            tuple(
                Peer(Selector((Requirement(f"k{i % 7}", "NotIn", (f"v{i}-{j}",)),)), Selector()) for j in range(count)
            ),
            (PolicyPort("TCP", 1000 + i),),
        )
        for i in range(rules)
    ]
    return [*_pods(20), _policy("p", written)]


def excluded_pods(rules: int, count: int) -> list[KubeObject]:
    """Return rules for all pods of the cluster but one each, so that no two pods are admitted the same."""
    written = [
        _rule([Peer(Selector((Requirement("k", "NotIn", (f"v{i}",)),)), Selector())] * count, 1000 + i)
        for i in range(rules)
    ]
    return [*_pods(1), _policy("p", written)]


def random_pods(rules: int, count: int) -> list[KubeObject]:
    """Return rules that each select some of 2,000 pods, so that no two pods are admitted the same, nor alike."""
    random = Random(1)
    written = [
        _rule([Peer(some_pods(random), Selector()) for _ in range(count)], 1000 + number) for number in range(rules)
    ]
    return [*_pods(1), *different_pods(2000), _policy("p", written)]


def values(rules: int, count: int) -> list[KubeObject]:
    """Return rules that each select pods by a label with many values."""
    written = [
        _rule([Peer(Selector((Requirement("k", "In", tuple(f"v{i}-{j}" for j in range(count))),)))], 1000 + i)
        for i in range(rules)
    ]
    return [*_pods(1), _policy("p", written)]


def port_names(pods: int, count: int) -> list[KubeObject]:
    """Return a rule for everywhere with many ports given by name, and pods on which each of them is another number."""
    names = [f"n{i}" for i in range(count)]
    named = [
        Pod(
            namespace=OTHER,
            name=f"q{pod}",
            template=PodTemplate(
                ports=tuple(ContainerPort(1 + (7 * i + 11 * pod) % 65535, "TCP", name) for i, name in enumerate(names)),
                node="n2",
            ),
            addresses=(f"10.2.{pod // 256}.{pod % 256}",),
            phase="Running",
        )
        for pod in range(pods)
    ]
    rule = Rule((), tuple(PolicyPort("TCP", name) for name in names))
    return [*_pods(1), Namespace(name=OTHER, labels={NAME_LABEL: OTHER}), *named, _policy("p", [rule])]


def groups(rules: int, count: int) -> list[KubeObject]:
    """Return one policy with everywhere but many addresses, for 30 pods that have a small one of their own each."""
    own = [_policy(f"p{i}", [Rule((), (PolicyPort("TCP", 500 + i),))], labelled(n=str(i))) for i in range(30)]
    return [*_pods(30), *own, _policy("e", [_wide(_scattered(i, count), 1000 + i) for i in range(rules)])]


def groups_of_blocks(rules: int, count: int) -> list[KubeObject]:
    """Return the same, the small policies with an address each, in the way of the large one's ports."""
    own = [_policy(f"p{i}", [_rule([_block(_address(i))], 1000 + i)], labelled(n=str(i))) for i in range(30)]
    return [*_pods(30), *own, _policy("e", [_wide(_scattered(i, count), 1000 + i) for i in range(rules)])]


def many_policies(rules: int, count: int) -> list[KubeObject]:
    """Return the rules of `excepts` in a policy each."""
    return [*_pods(1), *(_policy(f"p{i}", [_wide(_scattered(i, count), 1000 + i)]) for i in range(rules))]


SHAPES: Final[dict[str, Callable[[int, int], list[KubeObject]]]] = {
    "nested": nested,
    "excepts": excepts,
    "same-port": same_port,
    "subsets": subsets,
    "overlapping-ports": overlapping_ports,
    "cut-up": cut_up,
    "many-ports": many_ports,
    "selectors": selectors,
    "different-selectors": different_selectors,
    "excluded-pods": excluded_pods,
    "random-pods": random_pods,
    "values": values,
    "port-names": port_names,
    "groups": groups,
    "groups-of-blocks": groups_of_blocks,
    "many-policies": many_policies,
}


def different_pods(count: int) -> list[KubeObject]:
    """Return pods of another namespace and node that differ in as many labels as it takes, each with two values."""
    return [
        Namespace(name=OTHER, labels={NAME_LABEL: OTHER}),
        *(
            Pod(
                namespace=OTHER,
                name=f"q{number}",
                template=PodTemplate(
                    labels={f"b{place}": str(number >> place & 1) for place in range(_LABELS)}, node="n2"
                ),
                addresses=(f"10.2.{number // 256}.{number % 256}",),
                phase="Running",
            )
            for number in range(count)
        ),
    ]


def some_pods(random: Random) -> Selector:
    """Return a selector of a quarter of them."""
    places = random.sample(range(_LABELS), 2)
    return Selector(tuple(Requirement(f"b{place}", "In", (str(random.randrange(2)),)) for place in places))


def _pods(count: int) -> list[KubeObject]:
    return [
        Namespace(name=NAMESPACE, labels={NAME_LABEL: NAMESPACE}),
        *(
            Pod(
                namespace=NAMESPACE,
                name=f"z{i}",
                template=PodTemplate(labels={"n": str(i)}, node=NODE),
                addresses=(f"10.244.1.{20 + i}",),
                phase="Running",
            )
            for i in range(count)
        ),
    ]


def _policy(name: str, rules: Iterable[Rule], subject: Selector = _EVERYONE) -> NetworkPolicy:
    return NetworkPolicy(
        namespace=NAMESPACE, name=name, pod_selector=subject, egress=tuple(rules), policy_types=("Egress",)
    )


def _rule(peers: Iterable[Peer], port: int) -> Rule:
    return Rule(tuple(peers), (PolicyPort("TCP", port),))


def _wide(blocks: Iterable[str], port: int) -> Rule:
    return _rule([_block(_EVERYWHERE, blocks)], port)


def _block(cidr: str, left_out: Iterable[str] = ()) -> Peer:
    return Peer(ip_block=IPBlock(cidr, tuple(left_out)))


def _address(number: int) -> str:
    return f"10.{100 + number // 65536}.{number // 256 % 256}.{number % 256}/32"


def _scattered(rule: int, count: int) -> list[str]:
    found = {(j % 256, (rule * 7 + j) // 256 % 256, (rule + j * 2) % 256) for j in range(count)}
    return [f"10.{a}.{b}.{c}/32" for a, b, c in sorted(found)]


def share(sizes: Sequence[Size]) -> float:
    """Return how much of the standard budget the policies of a namespace use, by the measure that they use most of."""
    budget = BUDGETS["standard"]
    assert budget is not None
    total = reduce(Size.plus, sizes)
    used = [(size, budget.policy) for size in sizes] + [(total, budget.namespace)]
    return max(figure / limit for size, most in used for figure, limit in zip(size, most, strict=True))


def main() -> None:
    """Print as JSON what the last policy takes.

    That is the seconds of the processor from the event to the kernel, the peak of memory in MiB, why it is refused, and
    the share of the budget that is used.
    """
    shape, rules, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    *before, policy = SHAPES[shape](rules, count)
    assert isinstance(policy, NetworkPolicy)
    follower = Cluster.from_objects(before, Options(world="closed"))
    with DirectRunner() as runner:
        enforcer = Enforcer(runner, NODE, follower.model)
        enforcer.start()
        begin = time.process_time()
        enforcer.program(follower.apply(Event(EventType.ADDED, policy)))
        while enforcer.is_behind:
            enforcer.catch_up()
        seconds = time.process_time() - begin
    policies = follower.model.engine.policies(NAMESPACE)
    (last,) = (item for item in policies if item.source is policy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, peak, last.refused, share([item.size for item in policies])]))


if __name__ == "__main__":
    main()
