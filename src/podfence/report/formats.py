# SPDX-License-Identifier: Apache-2.0
"""How each kind of answer can be written: one row for each format, from which `-o` is made."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podfence.report.style import Page

_DOCUMENTS: Final = (
    *("Connectivity", "Verdict", "Explanation", "Difference", "Options", "Config", "Version"),
    *("Why", "AgentStatus", "LabStatus", "Labs", "Verification"),
)
_REMARKED: Final = ("Connectivity", "PodConnections", "Verdict", "Explanation", "Difference", "Refusal")

FORMATS: Final[dict[str, dict[str, str]]] = {
    "table": {
        "Overview": "table.overview",
        "PodConnections": "table.pods",
        "Difference": "difference.lines",
        "Options": "about.options_table",
        "LabStatus": "lab_status.lines",
        "Labs": "lab_status.labs",
    },
    "text": {
        "Verdict": "verdict_text.brief",
        "Explanation": "verdict_text.chain",
        "Config": "about.config_table",
        "Why": "why.lines",
        "AgentStatus": "agent_status.lines",
        "Verification": "verification.lines",
    },
    "json": dict.fromkeys(_DOCUMENTS, "structured.json_lines") | {"PodConnections": "structured.pods_json"},
    "yaml": dict.fromkeys(_DOCUMENTS, "structured.yaml_lines") | {"PodConnections": "structured.pods_yaml"},
    "csv": {"Connectivity": "csv.connectivity", "PodConnections": "csv.pods", "Difference": "csv.difference"},
    "md": {
        "Overview": "markdown.overview",
        "PodConnections": "markdown.pods",
        "Verdict": "verdict_text.markdown",
        "Explanation": "verdict_text.markdown",
        "Difference": "comment.lines",
        "Refusal": "comment.refusal",
    },
    "sarif": dict.fromkeys(_REMARKED, "reviewing.sarif"),
    "github": dict.fromkeys(_REMARKED, "reviewing.github"),
    "gitlab": dict.fromkeys(_REMARKED, "reviewing.gitlab"),
    "matrix": {"Matrix": "matrix.grid"},
    "matrix-json": {"Matrix": "structured.json_lines"},
}
"""The function in a module of this room that yields the lines, by the name of the format and what is written.

It takes the answer and the `Page`. The first format that a kind has is what is written unless another is asked for.
"""


REMARKS: Final = ("sarif", "github", "gitlab")
"""The formats that say what is to be remarked on lines of files, of which problems of the input are a part."""


def names(*kinds: str) -> tuple[str, ...]:
    """Return the formats that one of the kinds of answers has, in the order of the table."""
    return tuple(name for name, writers in FORMATS.items() if not writers.keys().isdisjoint(kinds))


def lines(kind: str, name: str, answer: Any, page: Page) -> Iterator[str]:  # noqa: ANN401 - each writer has its answer
    """Yield the lines of an answer in a format that its kind has; only what writes it is loaded."""
    module, function = FORMATS[name][kind].split(".")
    writer: Callable[[Any, Page], Iterator[str]] = getattr(import_module(f"podfence.report.{module}"), function)
    return writer(answer, page)
