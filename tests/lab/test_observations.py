# SPDX-License-Identifier: Apache-2.0
"""What five tutorials show or say about NetworkPolicy happens to real packets, and to the commands shown there."""

from __future__ import annotations

import fcntl
import json
import os
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import pytest

from podfence import Decision
from tests.lab.labs import fresh_name, needs_lab
from tests.lab.observing import ADDRESS, Observed, Stage, observe
from tests.observations.observations import OBSERVATIONS, Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


pytestmark = needs_lab


class Shown(NamedTuple):
    """A command that a document shows, run where the row's connection comes from, and what it prints there."""

    command: str
    prints: tuple[str, ...]


def wget(url: str, *prints: str) -> Shown:
    return Shown(f"wget -qO- --timeout=2 http://{url}", prints)


def spider(*prints: str) -> Shown:
    return Shown("wget --spider --timeout=1 http://nginx", prints)


PAGE = "Thank you for using nginx."
HELLO = "Hello from HTTP server."
METRICS = ("http.requests=3", "go.goroutines=5", "go.cpus=4")
TIMED_OUT = "wget: download timed out"

# Where the documents ping three times, one is enough here.
SHOWN: dict[str, tuple[Shown, ...]] = {
    "0.1": (wget("apiserver:8001", TIMED_OUT),),
    "0.2": (wget("apiserver:5001/metrics", TIMED_OUT),),
    "0.3": (wget("apiserver:8001", TIMED_OUT),),
    "0.4": (wget("apiserver:5001/metrics", *METRICS),),
    "0.7": (wget("apiserver:8001", HELLO),),
    "0.8": (wget("apiserver:5001/metrics", *METRICS),),
    "0.9": (wget("apiserver:8001", HELLO),),
    "0.12": (wget("apiserver:5001/metrics", TIMED_OUT),),
    "1.22": (wget("payroll-service:8080", "wget: bad address 'payroll-service:8080'"),),
    "2.1": (Shown("nc -v -w 2 db 3306", ("db (10.96.", ":3306) open")),),
    "2.2": (Shown("nc -v -w 2 db 3306", ("db (10.96.", ":3306) open")),),
    "2.3": (Shown("nc -v -w 2 db 3306", ("nc: timed out",)),),
    "2.6": (wget("web", PAGE),),
    "3.1": (Shown("wget -qO- http://web", (PAGE,)),),
    "3.2": (Shown("wget -qO- --timeout=3 http://web", (TIMED_OUT,)),),
    "3.3": (wget("web", TIMED_OUT),),
    "3.4": (wget("web", PAGE),),
    "3.5": (wget("web", PAGE),),
    "3.6": (wget("web.default", PAGE),),
    "3.10": (wget("web", TIMED_OUT),),
    "3.11": (wget("web", "wget: bad address 'web'"),),
    "3.12": (wget("web.default", TIMED_OUT),),
    "3.13": (wget("web.default", TIMED_OUT),),
    "3.14": (wget("web", PAGE),),
    "3.15": (wget("web.default", PAGE),),
    "3.18": (wget("web.default", TIMED_OUT),),
    "3.19": (wget("web.default", PAGE),),
    "3.21": (wget("web.default", TIMED_OUT),),
    "3.22": (wget("web.default", TIMED_OUT),),
    "3.23": (wget("web.default", PAGE),),
    "3.24": (Shown("wget -qO- http://{node}:31261", (PAGE,)),),
    "3.25": (wget("web:8001", TIMED_OUT),),
    "3.26": (wget("web:5001/metrics", TIMED_OUT),),
    "3.27": (wget("web:8001", TIMED_OUT),),
    "3.28": (wget("web:5001/metrics", *METRICS),),
    "3.29": (Shown("nc -v -w 2 db 6379", ("db (10.96.", ":6379) open")),),
    "3.30": (Shown("nc -v -w 2 db 6379", ("nc: timed out",)),),
    "3.33": (wget("web", "wget: bad address 'web'"), wget("google.com", "wget: bad address 'google.com'")),
    "3.35": (Shown("ping -c 1 -W 2 192.168.3.1", ("1 packets transmitted, 0 packets received, 100% packet loss",)),),
    "3.36": (Shown("ping -c 1 -W 2 google.com", ("ping: bad address 'google.com'",)),),
    "3.37": (Shown("nslookup web.default.svc.cluster.local", ("Name:\tweb.default",)),),
    "3.38": (wget("web", TIMED_OUT),),
    "3.39": (wget("google.com", TIMED_OUT),),
    "3.40": (Shown("ping -c 1 -W 2 google.com", (f"PING google.com ({ADDRESS})", "100% packet loss")),),
    "3.42": (wget("google.com", "wget: bad address 'google.com'"),),
    "3.45": (wget("web", PAGE),),
    "3.46": (wget("google.com", TIMED_OUT),),
    "3.47": (Shown("nslookup google.com", (f"Address: {ADDRESS}",)),),
    "4.1": (spider("remote file exists"),),
    "4.3": (spider(TIMED_OUT),),
    "4.4": (spider("remote file exists"),),
}

Observe: TypeAlias = "Callable[[Row], Observed]"


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Observe:
    """Return what is observed of a row; all rows of a stage are tried when the first is asked for."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # The workers share what they found.
        folder = folder.parent
    known: dict[Stage, dict[str, Observed]] = {}

    def of(row: Row) -> Observed:
        stage = Stage.of(row.situation)
        if stage not in known:
            known[stage] = _observed(stage, folder / f"{stage}.json")
        return known[stage][row.id]

    return of


def _observed(stage: Stage, file: Path) -> dict[str, Observed]:
    with file.open("a+") as shared:
        fcntl.flock(shared, fcntl.LOCK_EX)
        shared.seek(0)
        text = shared.read()
        if text:
            return {identifier: Observed(*item) for identifier, item in json.loads(text).items()}
        rows = [row for row in OBSERVATIONS if Stage.of(row.situation) == stage]
        commands = {row.id: [item.command for item in SHOWN.get(row.id, ())] for row in rows}
        found = observe(stage, rows, commands, fresh_name())
        json.dump(found, shared)
        return found


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in OBSERVATIONS])
def test_packets_have_the_outcome_of_the_document(row: Row, observed: Observe) -> None:
    outcome = observed(row).outcome
    # A port nobody listens on refuses, and that, too, is only heard by whom no policy is in the way of.
    assert outcome in ({"open", "refused"} if row.decision is Decision.ALLOWED else {"timeout"}), row.remark


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row.id) for row in OBSERVATIONS if row.decision is Decision.DENIED]
)
def test_what_was_denied_gets_there_when_the_policies_are_gone(row: Row, observed: Observe) -> None:
    assert observed(row).without in {"open", "refused"}


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in OBSERVATIONS if row.id in SHOWN])
def test_commands_print_what_the_document_shows(row: Row, observed: Observe) -> None:
    for shown, printed in zip(SHOWN[row.id], observed(row).printed, strict=True):
        for text in shown.prints:
            assert text in printed, shown.command


def test_every_observation_with_a_shown_output_is_shown_here() -> None:
    assert {row.id for row in OBSERVATIONS if row.kind == "O"} <= {*SHOWN} <= {row.id for row in OBSERVATIONS}
