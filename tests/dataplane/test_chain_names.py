# SPDX-License-Identifier: Apache-2.0
"""Names in the kernel's table: two things never share one, however somebody writes his policies."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from podfence.api import Cluster
from podfence.cluster.state import Event, EventType
from podfence.dataplane import verdicts
from podfence.dataplane.enforcer import Enforcer
from podfence.dataplane.objects import NameTakenError, Objects
from podfence.dataplane.ruleset import TABLE, digest, read_back
from podfence.kube.objects import PolicyPort
from podfence.nft.names import NAME_LIMIT
from podfence.nft.sets import Set
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, pod, policy, rule, space

if TYPE_CHECKING:
    from pathlib import Path

    from podfence.kube.objects import KubeObject

LONG: Final = "n" * 63, "p" * 253


def test_a_digest_cannot_be_made_up_to_be_anothers() -> None:
    assert len(digest("")) * 4 == 128


def test_the_names_of_the_longest_names_fit() -> None:
    namespace, name = LONG
    objects: list[KubeObject] = [
        space(namespace),
        pod("web", "10.0.0.1", namespace=namespace, node="n1", labels={"app": "web"}),
        policy(name, app("web"), namespace=namespace, ingress=[rule(ports=[PolicyPort("TCP", 80)])], egress=[]),
    ]
    enforcer = Enforcer(FakeRunner(), "n1", Cluster.from_objects(objects).model)
    enforcer.start()
    names = [*enforcer.wanted.chains, *enforcer.wanted.sets]
    assert all(len(item) <= NAME_LIMIT for item in names)
    assert any(len(item) > 150 for item in names)


NAMES: Final = """
from podfence.api import Cluster
from podfence.dataplane.enforcer import Enforcer
from podfence.kube.objects import Peer, PolicyPort
from tests.nft.fake import FakeRunner
from tests.policy.parts import app, block, pod, policy, rule, space
pods = [pod(f"p{n}", f"10.0.{n // 250}.{n % 250 + 1}", node="n1", labels={"app": "web"}) for n in range(300)]
rules = [rule(Peer(pod_selector=app("web"), namespace_selector=app("shop")), ports=[PolicyPort("TCP", "http")])]
rules += [rule(Peer(pod_selector=app("web"))), rule(block("10.0.0.0/8", "10.1.0.0/16"))]
enforcer = Enforcer(FakeRunner(), "n1", Cluster.from_objects(
    [space("shop"), *pods, policy("web", app("web"), ingress=rules, egress=rules)]).model)
enforcer.start()
print(*enforcer.wanted.chains, *enforcer.wanted.sets, sep="\\n")
"""


def test_another_process_gives_everything_the_same_name(checkout: Path) -> None:
    """An agent that follows another one finds what it wants in the kernel, and changes nothing."""
    printed = {
        subprocess.run(
            [sys.executable, "-c", NAMES],
            cwd=checkout,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    (names,) = printed
    assert names.count("\ns_") >= 2


def test_one_name_takes_one_content() -> None:
    result = Objects()
    result.chain("c", "accept")
    result.chain("c", "accept")
    result.put(Set("s", ("ipv4_addr",)), {1: None})
    result.put(Set("s", ("ipv4_addr",)), {1: None})
    with pytest.raises(NameTakenError, match="two different things would be called c "):
        result.chain("c", "drop")
    with pytest.raises(NameTakenError, match="two different things would be called s "):
        result.put(Set("s", ("ipv4_addr",)), {2: None})


def test_a_policy_that_would_replace_the_rules_of_another_is_not_programmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """With digests of one digit it takes a few tries until the ports of somebody else have the name of shop/db's."""
    monkeypatch.setattr(verdicts, "digest", lambda text: digest(text)[:1])
    cluster = Cluster.from_objects(
        [
            space("shop"),
            space("evil"),
            pod("db", "10.0.0.1", node="n1"),
            pod("web", "10.0.0.2", namespace="evil", node="n1"),
            policy("db", app("db"), ingress=[rule(ports=[PolicyPort("TCP", 5432)])]),
        ]
    )
    runner = FakeRunner()
    enforcer = Enforcer(runner, "n1", cluster.model)
    enforcer.start()
    (name,) = [item for item in enforcer.wanted.chains if item.startswith("pc_")]
    before = read_back(runner.contents(TABLE)).chains[name]

    def forge() -> None:
        for port in range(1, 200):
            forged = policy("p", app("web"), namespace="evil", ingress=[rule(ports=[PolicyPort("TCP", port)])])
            enforcer.apply(cluster.apply(Event(EventType.MODIFIED if port > 1 else EventType.ADDED, forged)))

    with pytest.raises(NameTakenError, match="two different things would be called"):
        forge()
    assert read_back(runner.contents(TABLE)).chains[name].same_as(before)
