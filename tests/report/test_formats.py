# SPDX-License-Identifier: Apache-2.0
"""The table of formats: each row writes something, and nothing else has to know of it."""

from __future__ import annotations

import click
import pytest

from podfence.cli import about as about_podfence
from podfence.cli import diff, question, why
from podfence.cli import list as listing
from podfence.cli.agent import status as agent_status
from podfence.cli.lab import status as lab_status
from podfence.cli.lab import verify
from podfence.policy.options import describe
from podfence.report import about, formats
from podfence.report.formats import FORMATS
from podfence.report.remarks import Refusal
from podfence.report.style import PAGE, Page, Style
from tests.report import samples

ANSWERS = {
    "Overview": samples.as_overview(samples.SHOP),
    "Connectivity": samples.SHOP,
    "PodConnections": samples.PODS,
    "Matrix": samples.GRID,
    "Verdict": samples.DENIED,
    "Explanation": samples.DENIED,
    "Difference": samples.DIFFERENCE,
    "Refusal": Refusal("1 error", (samples.FINDING,)),
    "Options": about.options(describe()),
    "Config": samples.CONFIG,
    "Version": samples.VERSION,
    "Why": samples.ON_A_NODE,
    "AgentStatus": samples.STATUS,
    "LabStatus": samples.LAB,
    "Labs": samples.LABS,
    "Verification": samples.LEAKING,
}

# A word that each answer has in every format.
WORDS = {
    "Options": "self-traffic",
    "Config": "options",
    "Version": "1.2.3",
    "AgentStatus": "ready",
    "LabStatus": "web-1",
    "Labs": "other",
}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for name, kinds in FORMATS.items() for kind in kinds])
def test_every_format_writes_its_kind_on_any_page(kind: str, name: str) -> None:
    for page in (PAGE, Page(60, Style(colour=True))):
        # What is only remarked on says nothing of connections that are allowed.
        remarks = name in formats.REMARKS and kind in {"Connectivity", "PodConnections"}
        findings = (samples.FINDING,) if remarks else ()
        text = "\n".join(formats.lines(kind, name, ANSWERS[kind], page._replace(findings=findings)))

        assert "shop/" in text or "lab/" in text or WORDS.get(kind, "shop/") in text


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        (listing.command, ("Overview", "Connectivity", "Matrix")),
        (question.check, ("Verdict",)),
        (question.explain, ("Explanation",)),
        (diff.command, ("Difference",)),
        (about_podfence.options, ("Options",)),
        (about_podfence.configuration, ("Config",)),
        (why.command, ("Why",)),
        (agent_status.command, ("AgentStatus",)),
        (lab_status.command, ("LabStatus",)),
        (verify.command, ("Verification",)),
    ],
)
def test_a_command_offers_the_formats_of_its_answers(command: click.Command, kinds: tuple[str, ...]) -> None:
    (output,) = (item for item in command.params if item.name == "form")

    assert isinstance(output.type, click.Choice)
    assert tuple(output.type.choices) == formats.names(*kinds)


def test_a_listing_of_pods_has_every_format_that_a_listing_of_sets_has() -> None:
    assert formats.names("PodConnections") == formats.names("Overview", "Connectivity")
