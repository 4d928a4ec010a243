# SPDX-License-Identifier: Apache-2.0
"""The kinds of documents that `-o json` and `-o yaml` print: answers as they are, under their name.

The JSON Schemas come from the types of the answers. `complete` is false where a policy that nobody has read could turn
the answer, and `incomplete` says where it may lie, one sentence each. `assumes` is what a firm answer takes for granted
of what was not read.
"""

from __future__ import annotations

from typing import Any, Literal, get_type_hints

import msgspec

from podfence.agent.node.answer import AgentStatus, Why
from podfence.analysis.answers import Connectivity, Matrix, PodConnection
from podfence.analysis.diff.answer import Difference
from podfence.documents import ApiVersion, Value
from podfence.lab.status import Labs, LabStatus
from podfence.lab.verification.result import Verification
from podfence.policy.verdict import Verdict
from podfence.report.about import Config, Options, Version


class PodConnections(Value, frozen=True, kw_only=True):
    """The answer of `list --pods`: connections between single pods or blocks of addresses."""

    items: tuple[PodConnection, ...]


ABOUT_A_CLUSTER: tuple[type[msgspec.Struct], ...] = (Connectivity, PodConnections, Matrix, Verdict)
"""The answers that may be incomplete, and say whether they are."""

ANSWERS: tuple[type[msgspec.Struct], ...] = (
    *ABOUT_A_CLUSTER,
    Difference,
    *(Options, Config, Version),
    *(Verification, LabStatus, Labs, AgentStatus, Why),
)
"""Every answer; it is a document once it is said what it is."""


def _named(answer: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """Return the type of an answer with what a document begins with."""
    kind = answer.__name__
    hints = get_type_hints(answer, include_extras=True)
    fields: list[tuple[str, Any]] = [("api_version", ApiVersion), ("kind", Literal[kind])]
    if answer in ABOUT_A_CLUSTER:
        fields += [("complete", bool), ("incomplete", tuple[str, ...]), ("assumes", tuple[str, ...])]
    fields += [(name, hints[name]) for name in answer.__struct_fields__]
    return msgspec.defstruct(
        kind, fields, rename="camel", kw_only=True, frozen=True, module=__name__, namespace={"__doc__": answer.__doc__}
    )


KINDS: dict[str, type[msgspec.Struct]] = {answer.__name__: _named(answer) for answer in ANSWERS}
"""Every kind of document, by name."""
