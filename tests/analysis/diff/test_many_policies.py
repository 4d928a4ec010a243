# SPDX-License-Identifier: Apache-2.0
"""Many policies that select the same pod: each change alone that undoes a difference is named, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import given
from hypothesis import strategies as st

from podfence.kube.objects import KubeObject, NetworkPolicy, Peer, PolicyPort
from podfence.policy.options import Options
from tests.analysis.diff.test_diff_against_twin import Case, Reported, end, has_port, meant
from tests.analysis.diff.test_difference import diff, told
from tests.analysis.diff.undoing import undone
from tests.policy.parts import app, block, pod, policy, rule, space
from tests.twin import boundaries
from tests.twin.effort import tried
from tests.twin.question import AddressEnd, PodEnd
from tests.twin.twin import Twin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.analysis.diff.answer import ConnectionChange
    from tests.twin.question import Traffic

FROM_WEB, TO_DB = Peer(pod_selector=app("web")), Peer(pod_selector=app("db"))
TCP80, TCP81 = (PolicyPort("TCP", 80),), (PolicyPort("TCP", 81),)
OUTSIDE: Final = "10.9.0.1"

POLICIES: Final = (
    policy("deny", ingress=()),
    policy("deny-both", ingress=(), egress=()),
    policy("deny-db", app("db"), ingress=()),
    policy("web-80", app("db"), ingress=[rule(FROM_WEB, ports=TCP80)]),
    policy("web-81", app("db"), ingress=[rule(FROM_WEB, ports=TCP81), rule(FROM_WEB, ports=TCP80)]),
    policy("everybody", app("db"), ingress=[rule()]),
    policy("block", ingress=[rule(block("10.9.0.0/16"), ports=TCP80)]),
    policy("one", ingress=[rule(block(f"{OUTSIDE}/32"))]),
    policy("out", egress=[rule(TO_DB, ports=TCP80)]),
    policy("out-of-web", app("web"), egress=[rule(TO_DB), rule(block("10.9.0.0/16"))]),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw two choices of the policies."""
    here: list[KubeObject] = [space("shop"), pod("web", "10.9.0.2"), pod("db", "10.1.0.2")]
    several = st.lists(st.sampled_from(POLICIES), unique_by=lambda item: item.name)
    return Case([*here, *draw(several)], [*here, *draw(several)], Options())


@tried(400)
@given(case=cases())
def test_all_changes_of_policies_that_alone_undo_a_difference_are_named_and_no_others(case: Case) -> None:
    both = [*case.old, *case.new]
    old = Twin(case.old, case.options)
    ends: dict[str, PodEnd | AddressEnd] = {name: end(name) for name in ("shop/web", "shop/db")}
    ends[OUTSIDE] = AddressEnd(OUTSIDE)

    def is_undone(item: ConnectionChange, objects: Sequence[KubeObject]) -> bool:
        twin = Twin(objects, case.options)
        return all(
            twin.allowed(one, other, traffic) is old.allowed(one, other, traffic)
            for one, other in meant(item, ends)
            for traffic in asked(item, both)
        )

    for item in Reported(case).difference.connections:
        if not any(True for _ in meant(item, ends)):
            continue
        for causes in [item.causes] if item.joint else [[cause] for cause in item.causes]:
            assert is_undone(item, undone(case.old, case.new, causes) or ()), causes
        named = set() if item.joint else {cause.object.partition("/")[2] for cause in item.causes}
        assert named >= {name for name, objects in one_undone(case) if is_undone(item, objects)}, item


def asked(item: ConnectionChange, objects: Sequence[KubeObject]) -> Iterator[Traffic]:
    return (traffic for traffic in boundaries.traffic(objects) if has_port(item.ports, traffic))


def one_undone(case: Case) -> Iterator[tuple[str, list[KubeObject]]]:
    """Yield the policies that only one side has, with the objects of NEW where they are as in OLD."""
    old, new = ({item.name for item in side if isinstance(item, NetworkPolicy)} for side in (case.old, case.new))
    for item in POLICIES:
        if item.name in new - old:
            yield item.name, [other for other in case.new if other is not item]
        elif item.name in old - new:
            yield item.name, [*case.new, item]


def test_one_hundred_policies_for_the_same_pods_leave_no_cause_untold() -> None:
    pods = [pod(f"a{number}") for number in range(5)]
    here: list[KubeObject] = [space("shop"), *pods]
    several = [
        policy(
            f"p{number:03}",
            ingress=[rule(Peer(pod_selector=app(f"a{number % 5}")), ports=(PolicyPort("TCP", 1000 + number),))],
        )
        for number in range(100)
    ]

    found = diff(here, [*here, *several])

    assert found.notes == ()
    assert {len(item.causes) for item in found.connections} == {100}
    assert all(item.joint for item in found.connections)
    opened = diff([*here, several[0]], [*here, *several])
    line = "opened: shop/a1 -> shop/a0, shop/a2, shop/a3, shop/a4 TCP 1001"
    assert f"{line} | ingress rule 1 of NetworkPolicy shop/p001 was added" in told(opened)
