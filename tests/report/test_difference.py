# SPDX-License-Identifier: Apache-2.0
"""A difference for people: one line that says it all, then causes with their connections."""

from __future__ import annotations

import msgspec
import pytest

from podfence.analysis.answers import PortRange, Ports
from podfence.report import difference
from podfence.report.style import PAGE, Page
from tests.report import samples


def test_the_headline_says_what_matters_most_first() -> None:
    assert [difference.headline(answer) for answer in samples.DIFFERENCES] == [
        "opens 3 connections, closes 1 connection, leaves 1 more place unread",
        "no connection changes: only the text of objects changed",
        "no difference",
    ]


def test_connections_stand_below_what_causes_them() -> None:
    assert list(difference.lines(samples.DIFFERENCE)) == [
        "opens 3 connections, closes 1 connection, leaves 1 more place unread",
        "",
        "ingress rule 2 of NetworkPolicy shop/db was added (policies/db.yaml:14)",
        "  opened  shop/deploy/web -> shop/sts/db                                       TCP 3306",
        "  opened  shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here)  UDP 53",
        "",
        "NetworkPolicy shop/web was removed (git:main:policies/web.yaml:1)",
        "  opened  any address, lab/* -> shop/deploy/web  all ports",
        "",
        "these changes (undo all of them to undo it)",
        "  ingress rule 2 of NetworkPolicy shop/db was added (policies/db.yaml:14)",
        "  NetworkPolicy shop/web was removed (git:main:policies/web.yaml:1)",
        "  closed  shop/deploy/api -> shop/sts/db  TCP 5432",
        "",
        "changed  NetworkPolicy shop/db (policies/db.yaml:1)        ingress rule 2",
        "removed  NetworkPolicy shop/web (git:main:policies/web.yaml:1)",
        "",
        "incomplete: policies/new.yaml cannot be read (mend it)",
    ]


def test_no_line_is_wider_than_the_terminal() -> None:
    lines = "\n".join(difference.lines(samples.DIFFERENCE, Page(50))).splitlines()
    assert max(map(len, lines)) <= 50


ALL_BUT_80 = (
    *(PortRange("TCP", 1, 79), PortRange("TCP", 81, 65535)),
    *(PortRange("UDP", 1, 65535), PortRange("SCTP", 1, 65535), PortRange("other")),
)


@pytest.mark.parametrize(
    ("ports", "said"),
    [
        (Ports(everything=True), "all ports"),
        (Ports(ranges=(PortRange("TCP", 80, 80),)), "TCP 80"),
        (Ports(ranges=ALL_BUT_80), "all ports except TCP 80"),
        (Ports(ranges=ALL_BUT_80[:3]), "TCP 1-79,81-65535; all UDP"),
        (
            Ports(ranges=(*ALL_BUT_80[:2], PortRange("UDP", 1, 52), PortRange("UDP", 54, 65535), *ALL_BUT_80[3:])),
            "all ports except TCP 80 and UDP 53",
        ),
    ],
)
def test_ports_are_told_by_what_is_shorter(ports: Ports, said: str) -> None:
    assert difference.row(msgspec.structs.replace(samples.OPENED, ports=ports))[3] == said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ends": "added"}, "new workload"),
        ({"ends": "removed"}, "former workload"),
        ({"change": "unknown", "before": "denied", "after": "depends on x"}, "depends on x, was denied"),
        ({"change": "known", "before": "depends on x", "after": "allowed"}, "allowed, was: depends on x"),
        ({"allowed": "for now, until 2027-01-01"}, "accepted: for now, until 2027-01-01"),
    ],
)
def test_what_is_to_be_said_of_a_change_stands_behind_it(fields: dict[str, str], said: str) -> None:
    answer = msgspec.structs.replace(
        samples.DIFFERENCE, connections=(msgspec.structs.replace(samples.OPENED, **fields),), absent=()
    )
    assert any(line.endswith(said) for line in difference.lines(answer, PAGE))
