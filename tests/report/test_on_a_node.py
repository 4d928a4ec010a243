# SPDX-License-Identifier: Apache-2.0
"""What an agent says of its node, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from podfence.agent.node.answer import DroppedPackets
from podfence.report import agent_status, why
from podfence.report.style import Page, Style
from tests.report import samples

if TYPE_CHECKING:
    from podfence.dataplane.settings import Binding


def test_a_status_with_everything_wrong_says_all_of_it() -> None:
    assert list(agent_status.lines(samples.STATUS)) == [
        "node        n1",
        "version     1.2.3",
        "started     2027-01-15T08:00:00Z",
        "ready       no",
        "            the kernel could not be programmed",
        "enforcing   no",
        "source      the state kept on disk, because the API server does not answer, since 2027-01-15T08:00:01Z",
        "programmed  1 pod, 2 policies, 3 groups of pods",
        "links       4 pods bound, 1 not, 0 exempt; stray packets told of, and not dropped: none",
        "dropped     the kernel's counters cannot be read",
        "last error  2027-01-15T08:01:00Z nft failed",
        "",
        "WATCH   EVENTS   FAILURES   RELISTS   STATE",
        "Pod     7        2          1         not connected: timed out",
        "",
        "fatal rival: another enforces",
        "  remove it",
    ]


STRAY = DroppedPackets(
    egress=1, ingress=2, held=3, cut=4, stray={"unknown-source": 7, "unknown-destination": 0, "tunnel": 2}
)


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        (
            "enforce",
            "links       4 pods bound, 1 not, 0 exempt; stray packets dropped: 7 unknown-source, 2 tunnel",
        ),
        (
            "report",
            "links       4 pods bound, 1 not, 0 exempt; stray packets told of, and not dropped: 7 unknown-source, 2 tunnel",
        ),
        ("off", "links       pods are not bound to their links"),
    ],
)
def test_a_status_says_how_many_pods_are_bound_and_what_became_of_stray_packets(
    binding: Binding, expected: str
) -> None:
    lines = agent_status.lines(replace(samples.STATUS, binding=binding, dropped=STRAY))
    assert expected in list(lines)


def test_a_watch_that_has_no_list_yet_says_why() -> None:
    watch = replace(samples.STATUS.watches[0], listed=False)
    lines = list(agent_status.lines(replace(samples.STATUS, watches=(watch,))))
    assert lines[13].endswith("not listed yet: timed out")


def test_a_kernel_that_differs_is_told_in_words_after_the_verdict() -> None:
    assert list(why.lines(samples.ON_A_NODE))[1:] == [
        "",
        "shop/web (10.0.0.1) -> shop/db (10.0.0.2) TCP 80",
        "  ingress, judged here at its destination shop/db (10.0.0.2)",
        "    isolated by NetworkPolicy shop/db",
        "    engine admits no port; the node's program admits TCP 80",
        "    no counter of packets admitted by NetworkPolicy shop/db rule 1 (TCP 80)",
        "    1 packet denied by chain deny_i_shop_db_0123456789ab",
        "  differs: ingress: the node's program admits TCP 80, and the engine does not",
        "",
        "2 more connections were not looked up: ask about single pods",
        "",
        "note: a note",
        "the kernel of node n1 differs from the engine",
    ]


def test_colours_are_only_what_they_are_asked_for() -> None:
    assert any("\x1b[" in line for line in why.lines(samples.ON_A_NODE, Page(style=Style(True))))
    assert any("\x1b[" in line for line in agent_status.lines(samples.STATUS, Page(style=Style(True))))
    assert not any("\x1b[" in line for line in agent_status.lines(samples.STATUS))
