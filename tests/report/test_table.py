# SPDX-License-Identifier: Apache-2.0
"""Connectivity for people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from podfence.analysis.overview import Ends
from podfence.report import table
from podfence.report.style import Page, Style
from tests.report import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.answers import PodConnection


def test_piped_every_connection_is_one_line_and_definitions_follow() -> None:
    assert "\n".join(table.overview(samples.as_overview(samples.SHOP))) == (
        "shop/deploy/web -> shop/deploy/api         TCP 5000\n"
        "G1              -> kube-system/deploy/dns  TCP 53; UDP 53\n"
        "open pods       -> any address, open pods  all ports\n"
        "\n"
        "G1 = G2, shop/deploy/web\n"
        "G2 = shop/deploy/api, shop/sts/db\n"
        "G3 = shop/deploy/nobody-asks\n"
        "open pods (as source) = pods no policy isolates for egress"
        " (1 whole namespace, 1 workload): lab/*, shop/deploy/web\n"
        "open pods (as destination) = pods no policy isolates for ingress (1 workload): kube-system/deploy/dns"
    )


def test_a_terminal_gets_a_header_and_no_line_is_wider() -> None:
    lines = "\n".join(table.overview(samples.as_overview(samples.SHOP), Page(width=50))).splitlines()

    assert lines[:3] == [
        "SOURCE             DESTINATION      PORTS",
        "shop/deploy/web -> shop/deploy/api  TCP 5000",
        "G1              -> kube-system/     TCP 53; UDP 53",
    ]
    assert max(map(len, lines)) <= 50


def test_what_a_connection_depends_on_is_a_column_only_where_one_depends() -> None:
    header, first, second, _, own = table.overview(samples.as_overview(samples.DEPENDING), Page(width=120))

    assert header.split() == ["SOURCE", "DESTINATION", "PORTS", "DEPENDS"]
    assert first.split() == ["deploy/web", "->", "deploy/api", "TCP", "5000"]
    assert second.endswith("  TCP 8080-8090; all ICMP  depends on service-source")
    assert own == "names without a namespace are in shop"


def test_on_a_terminal_a_set_names_its_namespace_once() -> None:
    ends = Ends(("open pods", "dev/*", "shop/deploy/api", "shop/sts/db", "web/app", "10.0.0.0/8"))

    assert table.written(ends, short=True) == "open pods, dev/*, shop/deploy/api, sts/db, web/app, 10.0.0.0/8"
    assert table.written(ends) == str(ends)
    assert table.written(Ends(("all pods",), ("a/*", "b/x", "b/y")), short=True) == "all pods except a/*, b/x, y"


def test_an_empty_answer_is_no_lines() -> None:
    assert list(table.overview(samples.as_overview(samples.NOTHING), Page(width=80))) == []


def test_colour_adds_nothing_but_escapes() -> None:
    coloured = "\n".join(
        table.overview(samples.as_overview(samples.DEPENDING), Page(width=60, style=Style(colour=True)))
    )

    assert "\x1b[33m" in coloured
    assert re.sub(r"\x1b\[\d+m", "", coloured) == "\n".join(
        table.overview(samples.as_overview(samples.DEPENDING), Page(width=60))
    )


def test_pods_are_written_as_they_come() -> None:
    drawn = 0

    def connections() -> Iterator[PodConnection]:
        nonlocal drawn
        for item in samples.PODS:
            drawn += 1
            yield item

    lines = table.pods(connections())

    assert next(lines) == "shop/web-1 -> shop/api-1  TCP 5000; all ICMP"
    assert drawn == 1
    assert next(lines) == "0.0.0.0/0 -> shop/web-1  all ports  depends on service-source"
