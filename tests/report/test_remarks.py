# SPDX-License-Identifier: Apache-2.0
"""Remarks on lines: what becomes one, and the three formats that tools for code review read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest

from podfence.analysis.diff.answer import GapChange, ObjectChange
from podfence.analysis.diff.review import reviewed
from podfence.kube.findings import Position
from podfence.report import formats, remarks
from podfence.report.reviewing import MOST
from podfence.report.style import Page
from tests.report import samples
from tests.report.schemas import Entry, Sarif

if TYPE_CHECKING:
    from podfence.analysis.diff.answer import Difference

PAGE = Page(findings=(samples.FINDING,), gaps=("subfolders have policies",), root="deploy")


COMMAND = re.compile(r"::(error|warning|notice) (?:file=([^,:\n]+),line=(\d+),col=(\d+),)?title=[^,:\n]+::([^\n]+)")


def written(kind: str, form: str, answer: object, page: Page = PAGE) -> str:
    return "\n".join(formats.lines(kind, form, answer, page))


ANSWERS: list[tuple[str, Any]] = [
    *(("Difference", answer) for answer in samples.DIFFERENCES),
    *(("Verdict", answer) for answer in samples.VERDICTS),
    ("Connectivity", None),
    ("Refusal", remarks.Refusal("no such commit")),
    ("Refusal", remarks.Refusal("1 error", (samples.FINDING,))),
]


@pytest.mark.parametrize(("kind", "answer"), ANSWERS)
def test_all_three_formats_say_the_same_remarks(kind: str, answer: object) -> None:
    expected = list(remarks.of(answer, PAGE))

    (run,) = msgspec.json.decode(written(kind, "sarif", answer), type=Sarif).runs
    assert [(item.rule_id, item.level, item.message.text) for item in run.results] == [
        (item.rule, item.level, item.message) for item in expected
    ]
    assert sorted({item.rule_id for item in run.results}) == sorted(rule.id for rule in run.tool.driver.rules)

    entries = msgspec.json.decode(written(kind, "gitlab", answer), type=list[Entry])
    assert [(item.description, item.location.path, item.location.lines.begin) for item in entries] == [
        (item.message, item.file or ".", item.line) for item in expected
    ]
    assert len({item.fingerprint for item in entries}) == len(entries)

    commands = [COMMAND.fullmatch(line) for line in written(kind, "github", answer).splitlines()]
    assert [(found[1], found[2] or "", int(found[3] or 1)) for found in commands if found] == [
        ({"note": "notice"}.get(item.level, item.level), item.file, item.line) for item in expected
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("added", "incomplete: web.yaml cannot be read (mend it)"),
        ("removed", "complete: web.yaml cannot be read"),
    ],
)
def test_only_what_is_incomplete_has_a_remedy(change: Literal["added", "removed"], message: str) -> None:
    gap = GapChange(change=change, what="web.yaml cannot be read", remedy="mend it")
    answer = msgspec.structs.replace(samples.ONLY_TEXT, gaps=(gap,))

    assert [item.message for item in remarks.of(answer, Page())] == [message]


def test_a_change_is_remarked_at_the_line_of_its_cause_in_the_repository() -> None:
    found = list(remarks.of(samples.DIFFERENCE, Page(root="deploy")))

    assert [(item.level, item.rule, item.file, item.line) for item in found] == [
        ("warning", "opened", "deploy/policies/db.yaml", 14),
        ("warning", "opened", "policies/web.yaml", 1),
        ("note", "closed", "deploy/policies/db.yaml", 14),
        ("warning", "incomplete", "", 1),
    ]
    assert found[0].message == (
        "opens 2 connections: shop/deploy/web -> shop/sts/db TCP 3306; "
        "shop/deploy/web -> pods k8s-app=kube-dns of kube-system (none here) UDP 53"
        ": ingress rule 2 of NetworkPolicy shop/db was added (policies/db.yaml:14)"
    )


def test_what_fails_is_an_error_and_what_is_accepted_no_remark() -> None:
    strict = reviewed(samples.DIFFERENCE, fail_on=("internet", "incomplete"))
    assert [item.level for item in remarks.of(strict, Page())] == ["warning", "error", "note", "error"]

    accepted = msgspec.structs.replace(
        samples.DIFFERENCE,
        connections=tuple(msgspec.structs.replace(item, allowed="for now") for item in samples.DIFFERENCE.connections),
        gaps=(),
    )
    assert [item.message[:20] for item in remarks.of(accepted, Page())] == ["opens 1 connection: "]


def test_a_new_workload_is_remarked_where_it_is_written() -> None:
    written = ObjectChange(
        change="added", kind="Deployment", namespace="shop", name="web", new=Position("web.yaml", 7, 1)
    )
    new = msgspec.structs.replace(samples.OPENED, ends="added", causes=())
    answer = msgspec.structs.replace(samples.DIFFERENCE, connections=(new,), absent=(), objects=(written,), gaps=())
    (found,) = remarks.of(answer, Page(root="deploy"))

    assert (found.file, found.line) == ("deploy/web.yaml", 7)
    assert found.message.endswith(": new workloads")


def test_a_remark_says_whether_to_undo_one_cause_or_all() -> None:
    (closed,) = (item for item in remarks.of(samples.DIFFERENCE, Page()) if item.rule == "closed")

    assert ": these changes (undo all of them to undo it): ingress rule 2 of " in closed.message


def moved(answer: Difference) -> Difference:
    """Return the same change where all of it stands ten lines further down, read from another commit."""
    text = json.dumps(msgspec.to_builtins(answer))
    text = re.sub(r'"line": (\d+)', lambda found: f'"line": {int(found[1]) + 10}', text)
    text = re.sub(r"yaml:(\d+)\)", lambda found: f"yaml:{int(found[1]) + 10})", text)
    return msgspec.json.decode(text.replace("git:main:", "git:topic:"), type=type(answer))


def test_fingerprints_do_not_change_with_lines_and_differ_between_remarks() -> None:
    before = [item.fingerprint for item in remarks.of(samples.DIFFERENCE, PAGE)]
    lower = PAGE._replace(
        findings=(msgspec.structs.replace(samples.FINDING, position=Position("shop/policies/db.yaml", 99, 1)),)
    )
    after = [item.fingerprint for item in remarks.of(moved(samples.DIFFERENCE), lower)]

    assert before == after
    assert len(set(before)) == len(before)


def test_a_denied_connection_is_remarked_at_the_rule_that_comes_nearest() -> None:
    (found,) = remarks.of(samples.DENIED, Page())

    assert (found.level, found.rule, found.file, found.line) == ("error", "denied", "policies/db.yaml", 9)
    assert found.message.endswith("; to admit it, add podSelector app=web to `from` of rule 1")


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("policies/db.yaml", ("deploy/policies/db.yaml", 9)),
        ("./db.yaml", ("deploy/db.yaml", 9)),
        ("../db.yaml", ("db.yaml", 9)),
        ("git:HEAD:base/db.yaml", ("base/db.yaml", 9)),
        ("git:feature/x:base/db.yaml", ("base/db.yaml", 9)),
        ("chart/templates/db.yaml (rendered)", ("deploy/chart/templates/db.yaml", 1)),
        ("overlay (kustomize)", ("", 1)),
        ("chart (helm)", ("", 1)),
        ("<stdin>", ("", 1)),
        (f"{Path.cwd()}/db.yaml", ("deploy/db.yaml", 9)),
    ],
)
def test_files_have_the_names_that_the_repository_gives_them(file: str, expected: tuple[str, int]) -> None:
    finding = msgspec.structs.replace(samples.FINDING, position=Position(file, 9, 5))
    (found,) = remarks.of(None, Page(findings=(finding,), root="deploy"))

    assert (found.file, found.line) == expected


def test_a_command_of_github_is_one_line_and_its_values_are_escaped() -> None:
    finding = msgspec.structs.replace(
        samples.FINDING, position=Position("a,b:c%.yaml", 9, 5), message="x\r\n::error::y 5%"
    )
    text = written("Connectivity", "github", None, Page(findings=(finding,)))

    assert text == (
        "::warning file=a%2Cb%3Ac%25.yaml,line=9,col=5,title=podfence%3A input"
        "::spec.ingress[0]: x%0D%0A::error::y 5%25 (take it out, or fill it)"
    )


def test_remarks_beyond_what_github_takes_are_lines_of_the_log() -> None:
    findings = tuple(
        msgspec.structs.replace(samples.FINDING, message=f"::error::{number} ##[error]") for number in range(MOST + 2)
    )
    lines = written("Connectivity", "github", None, Page(findings=findings)).splitlines()

    assert sum(line.startswith("::warning ") for line in lines) == MOST
    assert lines[MOST:] == [
        f"also: warning: shop/policies/db.yaml:9: spec.ingress[0]: ::error::{number} ## [error] (take it out, or fill it)"
        for number in (MOST, MOST + 1)
    ]
