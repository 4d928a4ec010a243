# SPDX-License-Identifier: Apache-2.0
"""Connectivity as CSV and Markdown."""

from __future__ import annotations

import csv as reader

from podfence.analysis.answers import Connection, Connectivity, Endpoints, Ports
from podfence.report import csv, markdown
from tests.report import samples


def _csv(answer: Connectivity) -> list[list[str]]:
    lines = list(csv.connectivity(answer))
    assert not any("\r" in line or "\n" in line for line in lines)
    return list(reader.reader(lines))


def test_csv_has_a_row_per_range_with_groups_and_open_pods_written_out() -> None:
    assert _csv(samples.SHOP) == [
        ["source", "destination", "protocol", "from", "to", "depends"],
        ["shop/deploy/web", "shop/deploy/api", "TCP", "5000", "5000", ""],
        ["shop/deploy/web shop/deploy/api shop/sts/db", "kube-system/deploy/dns", "TCP", "53", "53", ""],
        ["shop/deploy/web shop/deploy/api shop/sts/db", "kube-system/deploy/dns", "UDP", "53", "53", ""],
        ["lab/* shop/deploy/web", "any-address kube-system/deploy/dns", "*", "", "", ""],
    ]


def test_csv_of_a_protocol_without_ports_has_no_numbers() -> None:
    assert _csv(samples.DEPENDING)[3] == [
        "0.0.0.0/0!10.0.0.0/8!192.168.0.0/16",
        "shop/deploy/web",
        "ICMP",
        "",
        "",
        "depends on service-source",
    ]


def test_csv_of_pods_has_a_row_per_range() -> None:
    assert list(csv.pods(samples.PODS))[1:] == [
        "shop/web-1,shop/api-1,TCP,5000,5000,",
        "shop/web-1,shop/api-1,ICMP,,,",
        "0.0.0.0/0,shop/web-1,*,,,depends on service-source",
    ]


def test_csv_of_everything_names_it_without_a_space() -> None:
    both = Endpoints(everything=True)
    answer = Connectivity(connections=(Connection(sources=both, destinations=both, ports=Ports(everything=True)),))

    assert _csv(answer)[1:] == [["everything", "everything", "*", "", "", ""]]


def test_markdown_is_a_table_and_a_list_of_definitions() -> None:
    lines = list(markdown.overview(samples.as_overview(samples.SHOP)))

    assert lines[:3] == [
        "| Source | Destination | Ports |",
        "| --- | --- | --- |",
        "| shop/deploy/web | shop/deploy/api | TCP 5000 |",
    ]
    assert lines[5] == ""
    assert lines[6] == "- G1 = G2, shop/deploy/web"
    assert lines[9].endswith(r"lab/\*, shop/deploy/web")


def test_markdown_has_a_column_for_what_depends() -> None:
    assert list(markdown.overview(samples.as_overview(samples.DEPENDING)))[2:] == [
        "| shop/deploy/web | shop/deploy/api | TCP 5000 |  |",
        "| 0.0.0.0/0 except 10.0.0.0/8, 192.168.0.0/16 | shop/deploy/web | TCP 8080-8090; all ICMP | depends on service-source |",
    ]


def test_markdown_of_pods_always_has_that_column() -> None:
    assert next(markdown.pods(samples.PODS)) == "| Source | Destination | Ports | Depends |"


def test_markdown_in_a_cell_stays_text() -> None:
    odd = Endpoints(workloads=("shop/a_b=c|d",), namespaces=("x",))
    answer = Connectivity(connections=(Connection(sources=odd, destinations=odd, ports=Ports(everything=True)),))

    assert r"| x/\*, shop/a\_b=c\|d |" in list(markdown.overview(samples.as_overview(answer)))[2]
