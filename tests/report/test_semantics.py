# SPDX-License-Identifier: Apache-2.0
"""The specification is at hand: every rule that the code cites can be printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from podfence.errors import PodfenceError
from podfence.policy.options import describe
from podfence.report import semantics

SOURCE = Path(__file__).resolve().parents[2] / "src"
CITED = re.compile(r"semantics (\d+\.\d+)")


def test_a_rule_is_printed_with_the_title_of_its_section() -> None:
    assert list(semantics.text("2.2")) == [
        "2 Isolation and policyTypes",
        "",
        (
            "2.2  If a pod is isolated in a direction, a connection is allowed in that direction if a policy that"
            " isolates the pod has a rule that admits the connection. Otherwise it is denied (but see 7.3)."
        ),
    ]


@pytest.mark.parametrize("number", ["2.2", " 2.2. ", "semantics 2.2"])
def test_a_rule_may_be_written_as_reasons_cite_it(number: str) -> None:
    assert "If a pod is isolated in a direction" in "\n".join(semantics.text(number))


def test_a_section_is_all_of_its_rules() -> None:
    lines = list(semantics.text("1"))

    assert [line.split()[0] for line in lines if re.match(r"1\.\d", line)] == [f"1.{number}" for number in range(1, 9)]


def test_tables_stay_tables_and_links_become_their_text() -> None:
    assert "| `In` | no | yes | no |" in semantics.text("4.3")
    assert "](" not in "\n".join(semantics.text("7"))


@pytest.mark.parametrize("number", ["99", "2.99", "", "two"])
def test_what_is_no_rule_is_refused(number: str) -> None:
    with pytest.raises(PodfenceError, match="there is no rule"):
        list(semantics.text(number))


def test_every_rule_that_the_code_cites_is_there() -> None:
    known = {number for rule in semantics.rules() for number in (rule.section, rule.number)}
    cited = {choice.rule for choice in describe().values()}
    for file in SOURCE.rglob("*.py"):
        cited |= set(CITED.findall(file.read_text(encoding="utf-8")))

    assert cited <= known
