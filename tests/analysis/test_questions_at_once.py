# SPDX-License-Identifier: Apache-2.0
"""A question changes nothing for others: not while its answer is drawn, not in another thread, not afterwards."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.errors import EndpointError
from podfence.kube.objects import Peer, Service, ServicePort
from tests.policy.parts import app, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.answers import Connectivity
    from podfence.kube.objects import KubeObject

WEB, DB = pod("web", "10.0.0.1"), pod("db", "10.0.0.2")
FROM_WEB = policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("web")))])
GHOST = "shop/app=ghost"


def names(answer: Connectivity) -> set[str]:
    return {name for item in answer for side in (item.sources, item.destinations) for name in side.workloads}


def test_a_pod_that_need_not_exist_is_in_no_other_answer_while_its_own_is_drawn() -> None:
    cluster = Cluster.from_objects([WEB, DB, FROM_WEB])
    before = cluster.connectivity()
    drawn = cluster.pod_connections(source=GHOST)
    next(drawn)

    assert cluster.matrix().names == ("shop/db", "shop/web")
    assert cluster.connectivity() == before


def test_answers_about_one_pod_that_need_not_exist_do_not_know_of_each_other() -> None:
    cluster = Cluster.from_objects([WEB, DB, FROM_WEB])
    expected = list(cluster.pod_connections(source=GHOST))
    first, second = (cluster.pod_connections(source=GHOST) for _ in range(2))
    begun = next(first)

    assert list(second) == expected
    assert [begun, *first] == expected


def test_an_answer_that_is_drawn_later_is_that_of_the_time_of_the_question() -> None:
    cluster = Cluster.from_objects([WEB, DB, FROM_WEB])
    expected = list(cluster.pod_connections())
    drawn = cluster.pod_connections()
    first = next(drawn)
    cluster.apply(Event(EventType.DELETED, DB))
    cluster.apply(Event(EventType.ADDED, pod("new", "10.0.0.3")))

    assert [first, *drawn] == expected


def test_what_cannot_be_asked_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(EndpointError):
        Cluster.from_objects([WEB]).pod_connections(source="shop/absent")
    with pytest.raises(EndpointError):
        Cluster.from_objects([WEB]).pod_connections(source="shop/web", destination="node:absent")


@pytest.fixture
def _busy() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_busy")
def test_threads_that_ask_one_cluster_have_their_own_answers() -> None:
    service = Service(namespace="shop", name="s", selector={"app": "p3"}, ports=(ServicePort(80, "http"),))
    objects: list[KubeObject] = [
        space("shop"),
        service,
        *(pod(f"p{number}", f"10.0.0.{number + 1}") for number in range(40)),
    ]
    objects += [
        policy(f"x{number}", app(f"p{number}"), ingress=[rule(Peer(pod_selector=app(f"p{number + 1}")))])
        for number in range(30)
    ]
    expected = {
        number: Cluster.from_objects(objects).connectivity(source=f"shop/app=p{number}", port=80) for number in range(4)
    }
    cluster = Cluster.from_objects(objects)

    def ask(number: int) -> list[Connectivity]:
        return [cluster.connectivity(source=f"shop/app=p{number}", port=80) for _ in range(8)]

    with ThreadPoolExecutor(4) as threads:
        found = dict(zip(range(4), threads.map(ask, range(4)), strict=True))

    assert all(answer == expected[number] for number, answers in found.items() for answer in answers)
    assert not any(name.startswith("shop/app=") for name in names(cluster.connectivity()))
