# SPDX-License-Identifier: Apache-2.0
"""A verification as text: tables, differences with reasons, what has no result, counts."""

from __future__ import annotations

import json

import msgspec
import pytest

from podfence.lab.verification.result import DeadTarget, LeftOut, Verification
from podfence.lab.verification.result import verification as answer_of
from podfence.report import structured, verification
from podfence.report.style import Page, Style
from tests.report import samples


def test_what_holds_is_a_table_by_groups_and_a_count() -> None:
    assert list(verification.lines(samples.HOLDING)) == [
        "SOURCE                              DESTINATION      EXPECTED   OBSERVED",
        "shop/deploy/job, shop/deploy/web -> shop/deploy/api  TCP 5000   TCP 5000",
        "shop/deploy/api                  -> shop/deploy/web  all ports  all ports",
        "shop/deploy/job                  -> shop/deploy/web  no port    no port",
        "",
        "6 connections tried: 6 as expected (1 at the second try)",
    ]


def test_differences_come_with_outcomes_and_reasons_and_the_dead_are_named() -> None:
    assert list(verification.lines(samples.LEAKING))[1:] == [
        "shop/deploy/api -> shop/deploy/db   TCP 5432 over IPv4  TCP 5432 over IPv4",
        "shop/deploy/web -> shop/deploy/db   no port             TCP 5432            differs",
        "shop/deploy/api -> shop/deploy/web  TCP 80 (1 of 2)     TCP 80 (1 of 2)",
        "",
        "Differences",
        "  shop/web-1 -> shop/db-1 TCP 5432 over IPv4: expected denied, observed allowed (open, then open)",
        "    egress: allowed by default (no policy selects shop/web)",
        f"    {samples.DENIED.ingress}",
        "",
        "No result: cannot be reached without policies either",
        "  shop/job-1 UDP 53 over IPv4: timeout, from shop/web-1, shop/web-2, shop/web-3, shop/web-4 and 2 more",
        "",
        "Not tried",
        "  shop/tele SCTP 7000: SCTP is not tried",
        "",
        "12 connections tried: 5 as expected, 1 different, 6 without a result",
    ]


def test_what_many_sources_have_in_common_is_said_without_their_names() -> None:
    open_to_all = [samples.trial(f"shop/p{number}-1", "shop/api-1", "ICMP", "allowed", "open") for number in range(6)]
    closed = [samples.trial(f"shop/p{number}-1", "shop/db-1", "ICMP", "denied", "timeout") for number in range(6)]
    closed[2] = samples.trial("shop/p2-1", "shop/db-1", "ICMP", "allowed", "open")

    found = list(verification.lines(answer_of(trials=(*open_to_all, *closed))))

    assert [line.split()[:-4] for line in found[1:4]] == [
        ["every", "source", "->", "shop/deploy/api"],
        ["shop/deploy/p2", "->", "shop/deploy/db"],
        ["every", "other", "source", "->", "shop/deploy/db"],
    ]


def test_ports_that_differ_alike_share_a_line() -> None:
    trials = [
        samples.trial("shop/a-1", "shop/b-1", port, "denied", "open", "open", reason="egress: x | ingress: y")
        for port in ("TCP 1", "TCP 2")
    ]
    trials.append(
        samples.trial("shop/a-1", "shop/b-1", "TCP 3", "denied", "refused", "refused", reason="egress: x | ingress: y")
    )

    found = list(verification.lines(answer_of(trials=tuple(trials))))

    assert found[3:-2] == [
        "Differences",
        "  shop/a-1 -> shop/b-1 TCP 1, TCP 2: expected denied, observed allowed (open, then open)",
        "    egress: x",
        "    ingress: y",
        "  shop/a-1 -> shop/b-1 TCP 3: expected denied, observed allowed (refused, then refused)",
        "    egress: x",
        "    ingress: y",
    ]


def test_ports_are_named_where_others_were_left_out() -> None:
    trials = (samples.trial("shop/a-1", "shop/b-1", "ICMP", "denied", "timeout"),)
    left_out = (LeftOut("shop/deploy/a -> shop/deploy/b TCP 80", "it depends on option hairpin"),)

    found = list(verification.lines(answer_of(trials=trials, left_out=left_out)))

    assert "none of ICMP" in found[1]
    assert "no port" not in found[1]


def test_a_source_that_gets_nowhere_is_one_line() -> None:
    dead = tuple(
        DeadTarget(f"shop/p{number}", port, 4, ("shop/cut",), 1, "timeout")
        for number in range(6)
        for port in ("TCP 80", "ICMP")
    )

    found = list(verification.lines(answer_of(trials=(), dead=dead)))

    assert found[2:] == [
        "  shop/p0, shop/p1, shop/p2, shop/p3 and 2 more: timeout, from shop/cut",
        "",
        "12 connections tried: 0 as expected, 12 without a result",
    ]


def test_of_many_differences_the_first_are_written_and_the_rest_counted() -> None:
    count = verification.MOST_DIFFERENCES + 5
    trials = [
        samples.trial(f"shop/a-{number}", "shop/b-1", "ICMP", "denied", "open", "open", reason="x")
        for number in range(count)
    ]

    found = list(verification.lines(answer_of(trials=tuple(trials))))

    assert sum("expected denied" in line for line in found) == verification.MOST_DIFFERENCES
    assert "  and 5 connections more" in found


def test_the_last_line_is_green_or_red() -> None:
    last = [list(verification.lines(answer, Page(style=Style(colour=True))))[-1] for answer in samples.VERIFICATIONS]

    assert [line[:5] for line in last] == ["\x1b[32m", "\x1b[31m"]


@pytest.mark.parametrize("answer", samples.VERIFICATIONS)
def test_no_line_is_wider_than_the_terminal(answer: Verification) -> None:
    assert max(len(part) for line in verification.lines(answer, Page(70)) for part in line.split("\n")) <= 70


def test_the_document_counts_and_repeats_the_differences() -> None:
    found = json.loads("\n".join(structured.json_lines(samples.LEAKING)))

    assert (found["holds"], found["tried"], found["asExpected"]) == (False, 12, 5)
    assert found["differences"] == [found["trials"][0]]
    assert found["dead"][0]["connections"] == 6


@pytest.mark.parametrize("answer", samples.VERIFICATIONS)
def test_a_verification_can_be_sent_to_another_process(answer: Verification) -> None:
    assert msgspec.json.decode(msgspec.json.encode(answer), type=Verification) == answer
