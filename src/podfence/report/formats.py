# SPDX-License-Identifier: Apache-2.0
"""How each kind of answer can be written: one row for each format, from which `-o` is made."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podfence.report.style import Page

FORMATS: Final[dict[tuple[str, str], str]] = {
    ("Overview", "table"): "table.overview",
    ("Connectivity", "json"): "structured.json_lines",
    ("Connectivity", "yaml"): "structured.yaml_lines",
    ("Connectivity", "csv"): "csv.connectivity",
    ("Overview", "md"): "markdown.overview",
    ("Connectivity", "sarif"): "sarif.log",
    ("Connectivity", "github"): "github.commands",
    ("Connectivity", "gitlab"): "gitlab.report",
    ("PodConnections", "table"): "table.pods",
    ("PodConnections", "json"): "structured.pods_json",
    ("PodConnections", "yaml"): "structured.pods_yaml",
    ("PodConnections", "csv"): "csv.pods",
    ("PodConnections", "md"): "markdown.pods",
    ("PodConnections", "sarif"): "sarif.log",
    ("PodConnections", "github"): "github.commands",
    ("PodConnections", "gitlab"): "gitlab.report",
    ("Matrix", "matrix"): "matrix.grid",
    ("Matrix", "matrix-json"): "structured.json_lines",
    ("Verdict", "text"): "verdict.brief",
    ("Verdict", "json"): "structured.json_lines",
    ("Verdict", "yaml"): "structured.yaml_lines",
    ("Verdict", "md"): "verdict.markdown",
    ("Verdict", "sarif"): "sarif.log",
    ("Verdict", "github"): "github.commands",
    ("Verdict", "gitlab"): "gitlab.report",
    ("Explanation", "text"): "verdict.chain",
    ("Explanation", "json"): "structured.json_lines",
    ("Explanation", "yaml"): "structured.yaml_lines",
    ("Explanation", "md"): "verdict.markdown",
    ("Explanation", "sarif"): "sarif.log",
    ("Explanation", "github"): "github.commands",
    ("Explanation", "gitlab"): "gitlab.report",
    ("Difference", "table"): "difference.lines",
    ("Difference", "json"): "structured.json_lines",
    ("Difference", "yaml"): "structured.yaml_lines",
    ("Difference", "csv"): "csv.difference",
    ("Difference", "md"): "comment.lines",
    ("Difference", "sarif"): "sarif.log",
    ("Difference", "github"): "github.commands",
    ("Difference", "gitlab"): "gitlab.report",
    ("Refusal", "md"): "comment.refusal",
    ("Refusal", "sarif"): "sarif.log",
    ("Refusal", "github"): "github.commands",
    ("Refusal", "gitlab"): "gitlab.report",
    ("Options", "table"): "about.options_table",
    ("Options", "json"): "structured.json_lines",
    ("Options", "yaml"): "structured.yaml_lines",
    ("Config", "text"): "about.config_table",
    ("Config", "json"): "structured.json_lines",
    ("Config", "yaml"): "structured.yaml_lines",
    ("Version", "json"): "structured.json_lines",
    ("Version", "yaml"): "structured.yaml_lines",
    ("Why", "text"): "why.lines",
    ("Why", "json"): "structured.json_lines",
    ("Why", "yaml"): "structured.yaml_lines",
    ("AgentStatus", "text"): "agent_status.lines",
    ("AgentStatus", "json"): "structured.json_lines",
    ("AgentStatus", "yaml"): "structured.yaml_lines",
    ("LabStatus", "table"): "lab_status.lines",
    ("LabStatus", "json"): "structured.json_lines",
    ("LabStatus", "yaml"): "structured.yaml_lines",
    ("Labs", "table"): "lab_status.labs",
    ("Labs", "json"): "structured.json_lines",
    ("Labs", "yaml"): "structured.yaml_lines",
    ("Verification", "text"): "verification.lines",
    ("Verification", "json"): "structured.json_lines",
    ("Verification", "yaml"): "structured.yaml_lines",
}
"""The function in a module of this room that yields the lines, by what is written and the name of the format.

It takes the answer and the `Page`. The first format of a kind is what is written unless another is asked for.
"""


REMARKS: Final = ("sarif", "github", "gitlab")
"""The formats that say what is to be remarked on lines of files, of which problems of the input are a part."""


def names(*kinds: str) -> tuple[str, ...]:
    """Return the formats that one of the kinds of answers has, in the order of the table."""
    return tuple(dict.fromkeys(name for kind, name in FORMATS if kind in kinds))


def lines(kind: str, name: str, answer: Any, page: Page) -> Iterator[str]:  # noqa: ANN401 - each writer has its answer
    """Yield the lines of an answer in a format that its kind has; only what writes it is loaded."""
    module, function = FORMATS[kind, name].split(".")
    writer: Callable[[Any, Page], Iterator[str]] = getattr(import_module(f"podfence.report.{module}"), function)
    return writer(answer, page)
