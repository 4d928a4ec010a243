# SPDX-License-Identifier: Apache-2.0
"""The objects that `-o json` and `-o yaml` print: what their fields are called outside of Python.

They repeat the values of `podfence.analysis.answers` and `podfence.policy.verdict` so that those may
change without changing what other programs read; the JSON Schemas come from here. `complete` is false where a policy
that nobody has read could turn the answer, and `incomplete` says where it may lie, one sentence each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from podfence.agent.node.answer import AgentStatus, NodeAnswer, NodeConnection
from podfence.analysis.answers import AddressBlock, PodConnection, Ports
from podfence.lab.status import LabStatus
from podfence.report.values import API_VERSION, ApiVersion, DecisionName, Value
from podfence.report.verification_document import Verification

if TYPE_CHECKING:
    import msgspec

    from podfence.analysis import answers
    from podfence.kube import findings
    from podfence.policy import verdict
    from podfence.policy.options import Choice

DirectionName = Literal["egress", "ingress"]


class Position(Value, frozen=True):
    """A place in an input; line and column count from 1 over the whole file, 0 means the file as such."""

    file: str
    line: int
    column: int


class Policy(Value, frozen=True):
    """A policy; its position is null when it did not come from a file."""

    kind: str
    namespace: str
    name: str
    position: Position | None


class Line(Value, frozen=True):
    """One line of a source file."""

    number: int
    text: str


class Rule(Value, frozen=True):
    """A rule of a policy: `index` counts from 0 in the list of its direction, as in `spec.ingress[0]`."""

    policy: Policy
    direction: DirectionName
    index: int
    position: Position | None
    excerpt: tuple[Line, ...]


class Miss(Value, frozen=True):
    """The rule nearest to admitting a denied connection, and by what it misses."""

    rule: Rule
    admits: str
    gap: str


class Reason(Value, frozen=True):
    """Why one direction is decided as it is.

    `policies` isolate the pod; `rule` admits the connection; `nearest` comes nearest to admitting it,
    `remedy` is the smallest change that would; `semantics` numbers the rule of the specification,
    `options` names the engine options, that decided.
    """

    direction: DirectionName
    decision: DecisionName
    tier: str
    summary: str
    semantics: str
    policies: tuple[Policy, ...]
    rule: Rule | None
    nearest: Miss | None
    remedy: str
    options: tuple[str, ...]


class Part(Value, frozen=True):
    """The verdict on a question, or on a part of one."""

    source: str
    destination: str
    port: str
    decision: DecisionName
    depends_on: str
    egress: Reason
    ingress: Reason
    notes: tuple[str, ...]
    parts: tuple[Part, ...]


class Verdict(Value, frozen=True):
    """The answer of `check` and `explain`; `parts` are decided differently when it depends."""

    api_version: ApiVersion
    kind: Literal["Verdict"]
    complete: bool
    incomplete: tuple[str, ...]
    source: str
    destination: str
    port: str
    decision: DecisionName
    depends_on: str
    egress: Reason
    ingress: Reason
    notes: tuple[str, ...]
    parts: tuple[Part, ...]


class Endpoints(Value, frozen=True):
    """A set of endpoints: the union of what its flags and lists name.

    `everything` is every pod and every address; `openPods` are the pods that no policy isolates in
    this direction, listed once for the whole document; `internet` are the public addresses that are no
    pod, node or Service; `groups` name entries of its `groups`.
    """

    everything: bool
    all_pods: bool
    all_addresses: bool
    internet: bool
    open_pods: bool
    namespaces: tuple[str, ...]
    groups: tuple[str, ...]
    workloads: tuple[str, ...]
    addresses: tuple[AddressBlock, ...]


class Connection(Value, frozen=True):
    """Every source may connect to every destination on these ports; `depends` is empty or says on what."""

    sources: Endpoints
    destinations: Endpoints
    ports: Ports
    depends: str


class Group(Value, frozen=True):
    """A named set of pods."""

    name: str
    members: Endpoints


class Connectivity(Value, frozen=True):
    """The answer of `list`; what is in no connection is denied."""

    api_version: ApiVersion
    kind: Literal["Connectivity"]
    complete: bool
    incomplete: tuple[str, ...]
    connections: tuple[Connection, ...]
    groups: tuple[Group, ...]
    open_sources: Endpoints
    open_destinations: Endpoints
    workloads: int
    pods: int
    policies: int


class PodConnections(Value, frozen=True):
    """The answer of `list --pods`: connections between single pods or blocks of addresses."""

    api_version: ApiVersion
    kind: Literal["PodConnections"]
    complete: bool
    incomplete: tuple[str, ...]
    items: tuple[PodConnection, ...]


class Matrix(Value, frozen=True):
    """The answer of `list -o matrix-json`: in row i, character j stands for names[i] connecting to names[j].

    `.` is allowed, `X` denied, `~` allowed on some ports, `?` depends.
    """

    api_version: ApiVersion
    kind: Literal["Matrix"]
    complete: bool
    incomplete: tuple[str, ...]
    names: tuple[str, ...]
    rows: tuple[str, ...]


class Option(Value, frozen=True):
    """An engine option; the first of `values` is the default, `semantics` numbers the rule it stands for."""

    name: str
    default: str
    values: tuple[str, ...]
    semantics: str
    meaning: str


class Options(Value, frozen=True):
    """The answer of `options`."""

    api_version: ApiVersion
    kind: Literal["Options"]
    items: tuple[Option, ...]


class Why(Value, frozen=True):
    """The answer of `why`: the engine's verdict, and what the kernel of a node has for it.

    `differs` says that engine and kernel are not of one mind, in one of the `connections`; those are the connections
    of the question that have an end among the pods of this node, of which `leftOut` are not shown.
    """

    api_version: ApiVersion
    kind: Literal["Why"]
    node: str
    enforcing: bool
    verdict: Part
    differs: bool
    connections: tuple[NodeConnection, ...]
    left_out: int
    notes: tuple[str, ...]


class Version(Value, frozen=True):
    """The answer of `version`."""

    api_version: ApiVersion
    kind: Literal["Version"]
    version: str
    python: str


KINDS: dict[str, type[msgspec.Struct]] = {
    kind.__name__: kind
    for kind in (
        Connectivity,
        PodConnections,
        Matrix,
        Verdict,
        Verification,
        LabStatus,
        AgentStatus,
        Why,
        Options,
        Version,
    )
}
"""Every kind of document, by name."""


def connectivity(answer: answers.Connectivity) -> Connectivity:
    """Return `answer` as a document."""
    return Connectivity(
        api_version=API_VERSION,
        kind="Connectivity",
        complete=True,
        incomplete=(),
        connections=tuple(
            Connection(
                sources=_endpoints(item.sources),
                destinations=_endpoints(item.destinations),
                ports=item.ports,
                depends=item.depends,
            )
            for item in answer.connections
        ),
        groups=tuple(Group(name=group.name, members=_endpoints(group.members)) for group in answer.groups),
        open_sources=_endpoints(answer.open_sources),
        open_destinations=_endpoints(answer.open_destinations),
        workloads=answer.workloads,
        pods=answer.pods,
        policies=answer.policies,
    )


def matrix(answer: answers.Matrix) -> Matrix:
    """Return `answer` as a document."""
    return Matrix(
        api_version=API_VERSION, kind="Matrix", complete=True, incomplete=(), names=answer.names, rows=answer.rows
    )


def decision(answer: verdict.Verdict) -> Verdict:
    """Return `answer` as a document."""
    part = _part(answer)
    fields = {name: getattr(part, name) for name in part.__struct_fields__}
    return Verdict(api_version=API_VERSION, kind="Verdict", complete=True, incomplete=(), **fields)


def why(answer: NodeAnswer) -> Why:
    """Return what an agent answered as a document."""
    return Why(
        api_version=API_VERSION,
        kind="Why",
        node=answer.node,
        enforcing=answer.enforcing,
        verdict=_part(answer.verdict),
        differs=answer.differs,
        connections=answer.connections,
        left_out=answer.left_out,
        notes=answer.notes,
    )


def options(choices: dict[str, Choice]) -> Options:
    """Return the engine's options, named as `--set` takes them, as a document."""
    items = tuple(
        Option(
            name=name.replace("_", "-"),
            default=choice.values[0],
            values=choice.values,
            semantics=choice.rule,
            meaning=choice.meaning,
        )
        for name, choice in choices.items()
    )
    return Options(api_version=API_VERSION, kind="Options", items=items)


def version(number: str, python: str) -> Version:
    """Return the versions of podfence and of Python as a document."""
    return Version(api_version=API_VERSION, kind="Version", version=number, python=python)


def _endpoints(ends: answers.Endpoints) -> Endpoints:
    return Endpoints(**{name: getattr(ends, name) for name in Endpoints.__struct_fields__})


def _part(answer: verdict.Verdict) -> Part:
    return Part(
        source=answer.source,
        destination=answer.destination,
        port=answer.port,
        decision=answer.decision.value,
        depends_on=answer.depends_on,
        egress=_reason(answer.egress),
        ingress=_reason(answer.ingress),
        notes=answer.notes,
        parts=tuple(_part(part) for part in answer.parts),
    )


def _reason(reason: verdict.Reason) -> Reason:
    return Reason(
        direction=reason.direction.value,
        decision=reason.decision.value,
        tier=reason.tier.value,
        summary=reason.summary,
        semantics=reason.semantics,
        policies=tuple(_policy(policy) for policy in reason.policies),
        rule=_rule(reason.rule) if reason.rule else None,
        nearest=_miss(reason.nearest) if reason.nearest else None,
        remedy=reason.remedy,
        options=tuple(name.replace("_", "-") for name in reason.options),
    )


def _miss(miss: verdict.Miss) -> Miss:
    return Miss(rule=_rule(miss.rule), admits=miss.admits, gap=miss.gap)


def _rule(rule: verdict.RuleRef) -> Rule:
    return Rule(
        policy=_policy(rule.policy),
        direction=rule.direction.value,
        index=rule.index,
        position=_position(rule.position),
        excerpt=tuple(Line(number=number, text=text) for number, text in rule.excerpt),
    )


def _policy(policy: verdict.PolicyRef) -> Policy:
    return Policy(kind=policy.kind, namespace=policy.namespace, name=policy.name, position=_position(policy.position))


def _position(position: findings.Position | None) -> Position | None:
    return None if position is None else Position(file=position.file, line=position.line, column=position.column)
