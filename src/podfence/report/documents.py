# SPDX-License-Identifier: Apache-2.0
"""The kinds of documents that `-o json` and `-o yaml` print: answers as they are, under their name.

The JSON Schemas come from the types of the answers. `complete` is false where a policy that nobody has read could turn
the answer, and `incomplete` says where it may lie, one sentence each. `assumes` is what a firm answer takes for granted
of what was not read.
"""

from __future__ import annotations

from typing import Any, Literal, get_type_hints

import msgspec

from podfence.agent.node.answer import AgentStatus, NodeAnswer, NodeConnection
from podfence.analysis.answers import Connectivity, Matrix, PodConnection
from podfence.documents import API_VERSION, ApiVersion, Value
from podfence.lab.status import LabStatus
from podfence.policy.verdict import Verdict
from podfence.report.about import Config, Options, Version
from podfence.report.verification_document import Verification


class PodConnections(Value, frozen=True, kw_only=True):
    """The answer of `list --pods`: connections between single pods or blocks of addresses."""

    items: tuple[PodConnection, ...]


class Why(Value, frozen=True, kw_only=True):
    """The answer of `why`: the engine's verdict, and what the kernel of a node has for it.

    `differs` says that engine and kernel are not of one mind, in one of the `connections`; those are the connections
    of the question that have an end among the pods of this node, of which `leftOut` are not shown.
    """

    api_version: ApiVersion
    kind: Literal["Why"]
    node: str
    enforcing: bool
    verdict: Verdict
    differs: bool
    connections: tuple[NodeConnection, ...]
    left_out: int
    notes: tuple[str, ...]


ABOUT_A_CLUSTER: tuple[type[msgspec.Struct], ...] = (Connectivity, PodConnections, Matrix, Verdict)
"""The answers that may be incomplete, and say whether they are."""

ANSWERS: tuple[type[msgspec.Struct], ...] = (*ABOUT_A_CLUSTER, Options, Config, Version)
"""The answers that are documents once it is said what they are."""


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


KINDS: dict[str, type[msgspec.Struct]] = {
    **{answer.__name__: _named(answer) for answer in ANSWERS},
    **{kind.__name__: kind for kind in (Verification, LabStatus, AgentStatus, Why)},
}
"""Every kind of document, by name."""


def why(answer: NodeAnswer) -> Why:
    """Return what an agent answered as a document."""
    return Why(
        api_version=API_VERSION,
        kind="Why",
        node=answer.node,
        enforcing=answer.enforcing,
        verdict=answer.verdict,
        differs=answer.differs,
        connections=answer.connections,
        left_out=answer.left_out,
        notes=answer.notes,
    )
