# SPDX-License-Identifier: Apache-2.0
"""The log: one line for each thing that happened, for people or for programs, whoever reads it."""

from __future__ import annotations

import io
import json
import logging
import os

import pytest

from podfence.agent.denials import DeniedFlow, LeftOut
from podfence.agent.node import logs
from podfence.agent.node.findings import NodeFinding
from podfence.agent.node.logs import Log
from podfence.agent.reports import Record, Report
from podfence.cluster.state import EventType
from podfence.kube.live.reflector import Health
from podfence.policy.verdict import Direction

RECORD = Record("NetworkPolicy", "shop", "db", EventType.ADDED, 0.0123456789)
DENIED = DeniedFlow(
    Direction.INGRESS, "10.0.0.1", "shop/web", "10.0.0.2", "shop/db", "TCP", 80, ("shop/db", "shop/default-deny")
)
OUTSIDE = DeniedFlow(Direction.EGRESS, "10.0.0.1", "shop/web", "203.0.113.9", "", "ICMP", None, ("shop/web",))


def lines(stream: io.StringIO) -> list[str]:
    """Return the lines without their times, which must be the first thing in each."""
    found = []
    for line in stream.getvalue().splitlines():
        time_text, _, rest = line.partition(" ")
        assert time_text.startswith("time=20")
        assert time_text.endswith("Z")
        found.append(rest)
    return found


def values(stream: io.StringIO) -> list[dict[str, object]]:
    found = [json.loads(line) for line in stream.getvalue().splitlines()]
    for item in found:
        assert item.pop("time").endswith("Z")
    return found


def test_a_denied_flow_is_a_line_of_fields() -> None:
    stream = io.StringIO()
    with Log(stream=stream) as log:
        log.denied([DENIED, OUTSIDE, LeftOut(Direction.EGRESS, "shop/web", 7)])
    start = "level=info event=denied direction="
    ingress = f"{start}ingress source=10.0.0.1 source_name=shop/web destination=10.0.0.2"
    egress = f"{start}egress source=10.0.0.1 source_name=shop/web destination=203.0.113.9"
    assert lines(stream) == [
        f'{ingress} destination_name=shop/db protocol=TCP port=80 policies="shop/db, shop/default-deny"',
        f"{egress} protocol=ICMP policies=shop/web",
        f'level=warning event="{LeftOut(Direction.EGRESS, "shop/web", 7)}" packets=7',
    ]


def test_as_json_every_line_is_an_object_with_lists_and_numbers() -> None:
    stream = io.StringIO()
    with Log("json", "debug", stream) as log:
        log.denied([DENIED])
        log.report(Report(node="n1", enforcing=True, records=(RECORD,)))
    assert values(stream) == [
        {
            "level": "info",
            "event": "denied",
            "direction": "ingress",
            "source": "10.0.0.1",
            "source_name": "shop/web",
            "destination": "10.0.0.2",
            "destination_name": "shop/db",
            "protocol": "TCP",
            "port": 80,
            "policies": ["shop/db", "shop/default-deny"],
        },
        {
            "level": "debug",
            "event": "programmed",
            "kind": "NetworkPolicy",
            "namespace": "shop",
            "name": "db",
            "change": "added",
            "seconds": 0.012346,
        },
    ]


def test_a_report_is_a_line_for_each_thing_that_happened() -> None:
    stream = io.StringIO()
    with Log(stream=stream) as log:
        log.report(Report(node="n1", enforcing=True, records=(RECORD,)))
        log.report(Report(node="n1", enforcing=False, errors=("the kernel refused",), drift=("a was gone", "b"), cut=2))
    repaired = "repaired changes that another program made in the kernel's table"
    assert lines(stream) == [
        'level=error event="the kernel refused"',
        f'level=warning event="{repaired}" differences="a was gone, b"',
        'level=info event="cut established flows that policies now deny" flows=2',
    ]


def test_findings_are_written_when_they_come_and_when_they_go() -> None:
    stream = io.StringIO()
    found = NodeFinding("fatal", "rival", "another program enforces", "remove it")
    with Log(stream=stream) as log:
        for items in ((found,), (found,), ()):
            log.findings(items)
    assert lines(stream) == [
        'level=error event="another program enforces" code=rival remedy="remove it"',
        'level=info event="no longer found" code=rival',
    ]


def test_watches_are_written_when_they_change() -> None:
    stream = io.StringIO()
    sound = Health("Pod", listed=True, connected=True)
    with Log(stream=stream) as log:
        for item in (
            Health("Pod"),
            sound,
            sound._replace(events=5),
            sound._replace(connected=False, error="timed out"),
            sound._replace(connected=False, error="timed out", failures=2),
            sound,
        ):
            log.health([item])
    assert lines(stream) == [
        "level=info event=watching kind=Pod",
        'level=warning event="not watching" kind=Pod error="timed out"',
        "level=info event=watching kind=Pod",
    ]


def test_text_of_others_cannot_add_lines_or_steer_a_terminal() -> None:
    stream = io.StringIO()
    with Log(stream=stream) as log:
        log.report(Report(node="n1", enforcing=True, errors=("a\nlevel=info event=b\x1b[31m\x9b1m\r",)))
    assert lines(stream) == ['level=error event="a\\nlevel=info event=b\ufffd[31m\ufffd1m\ufffd"']


@pytest.mark.parametrize("form", ["text", "json"])
def test_libraries_write_into_the_same_log_with_exceptions(form: logs.Form) -> None:
    stream = io.StringIO()
    with Log(form, stream=stream):
        try:
            int("wrong")
        except ValueError:
            logging.getLogger("aiohttp.server").exception("Error handling %s", "request")
    (line,) = stream.getvalue().splitlines()
    for text in ("Error handling request", "aiohttp.server", "ValueError: invalid literal", "error"):
        assert text in line


def test_what_was_there_before_is_there_after() -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    with Log(stream=io.StringIO()):
        assert logging.getLogger().handlers != before[0]
    assert (logging.getLogger().handlers, logging.getLogger().level) == before


def test_who_reads_slowly_keeps_nobody_waiting_and_is_told_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST", 100)
    reading, writing = os.pipe()
    with os.fdopen(reading) as reader, os.fdopen(writing, "w") as stream, Log(stream=stream) as log:
        # If this waited for the reader, it would wait for ever.
        for number in range(10_000):
            log.logger.info("line", number=number)
        text = ""
        while "were left out" not in text:
            text = reader.readline()
            log.logger.info("more")
        while "event=last" not in text:
            log.logger.info("last")
            text = reader.readline()
