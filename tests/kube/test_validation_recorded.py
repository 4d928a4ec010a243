# SPDX-License-Identifier: Apache-2.0
"""Every manifest that was given to a real API server gets the answer the server gave.

The recordings are described in tests/data/apiserver/README.md.
"""

from __future__ import annotations

import json
import re
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from podfence.kube.decode import Validation, decode
from podfence.kube.findings import Finding, Severity
from podfence.kube.objects import IPBlock, KubeObject, NetworkPolicy, Peer, Rule, Selector
from podfence.kube.yaml import parse

DATA = Path(__file__).parent.parent / "data" / "apiserver"

# Rows the server refused and podfence accepts, and why.
ACCEPTED_HERE = {
    "ns-missing-object": "which namespaces exist is known to the server alone",
    "ns-default": "that an object exists already is known to the server alone",
    "svc-ip-outside": "the Service address range is the server's",
    "svc-nodeport-range": "the node port range is the server's",
    "pod-unknown": "unknown fields are refused in policies only",
    "gv-extensions": "the old API group is read on purpose",
    "dep-extensions": "the old API groups are read, with a warning",
    "gv-calico": "another group's kind: counted as ignored",
    "kind-unknown": "a kind that podfence does not read: counted as ignored",
    "doc-empty": "whether nothing at all is an error is for the command to say",
    "doc-comment": "whether nothing at all is an error is for the command to say",
}
# Messages of the server that podfence cannot know.
UNKNOWABLE = {
    "name-generate-bad": "metadata.name: the name made from generateName, with a random suffix",
    "name-generate-underscore": "metadata.name: the name made from generateName, with a random suffix",
}
# Rows the server refused without a look at the object (404), for a reason podfence has in its own words.
OTHER_REASON = {"ns-bad": "metadata.namespace: "}


class Answer(NamedTuple):
    """What podfence makes of a manifest."""

    objects: list[KubeObject]
    problems: list[Finding]
    ignored: int

    def texts(self, severity: Severity) -> list[str]:
        """Return the messages of one severity as the server prints them."""
        return [text(problem) for problem in self.problems if problem.severity is severity]


def text(problem: Finding) -> str:
    return f"{problem.field}: {problem.message}" if problem.field else problem.message


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def answer(row: dict[str, Any], *, lax: bool = False, level: Validation = "strict") -> Answer:
    manifest = re.sub(r"\{\{(\d+) times (.)\}\}", lambda match: match[2] * int(match[1]), row["manifest"])
    documents, problems = parse(manifest.encode(), "row.yaml")
    found = decode(documents, validation="lax" if lax else level)
    return Answer(found.objects, problems + found.problems, found.ignored.total())


STRICT = rows("validation.jsonl")
LAX = rows("validation-lax.jsonl")
CASES = [(row, False) for row in STRICT] + [(row, True) for row in LAX]


def cases(*, accepted: bool | None = None, having: str = "", kind: str = "") -> list[Any]:
    """Return the rows whose answer podfence should give too, as parameters."""
    return [
        pytest.param(row, lax, id=f"lax-{row['id']}" if lax else row["id"])
        for row, lax in CASES
        if row["id"] not in ACCEPTED_HERE
        and (accepted is None or row["accepted"] is accepted)
        and (not having or having in row)
        and (not kind or row["stored"]["kind"] == kind)
    ]


def test_the_recordings_are_complete() -> None:
    assert (len(STRICT), len(LAX)) == (570, 89)
    known = {row["id"] for row in STRICT if not row["accepted"]}
    assert known >= {*ACCEPTED_HERE, *UNKNOWABLE, *OTHER_REASON}


@pytest.mark.parametrize(("row", "lax"), cases())
def test_what_the_server_accepts_is_accepted_and_the_rest_refused(row: dict[str, Any], lax: bool) -> None:
    got = answer(row, lax=lax)
    assert bool(got.texts(Severity.ERROR)) is not row["accepted"]
    assert not (row["accepted"] and not got.objects)


@pytest.mark.parametrize("identifier", ACCEPTED_HERE)
def test_what_only_a_server_can_refuse_is_accepted(identifier: str) -> None:
    row = next(row for row in STRICT if row["id"] == identifier)
    assert answer(row, lax=False).texts(Severity.ERROR) == []


@pytest.mark.parametrize(("row", "lax"), cases(accepted=False, having="causes"))
def test_validation_messages_are_the_servers_word_for_word(row: dict[str, Any], lax: bool) -> None:
    wanted = [cause for cause in row["causes"] if not is_unknowable(row, cause)]
    got = [problem for problem in answer(row, lax=lax).problems if problem.severity is Severity.ERROR]
    assert sorted(map(text, got)) == sorted(wanted)
    # File order goes first; where several messages point at one place they are in the server's order,
    # except that the server itself goes through labels in random order.
    for _, here in groupby(got, key=lambda problem: problem.position):
        texts = list(map(text, here))
        if not texts[0].startswith(("metadata.labels: ", "spec.podSelector.matchLabels: ")):
            assert texts == [cause for cause in wanted if cause in texts]


def is_unknowable(row: dict[str, Any], cause: str) -> bool:
    return row["id"] in UNKNOWABLE and cause.startswith("metadata.name: ")


@pytest.mark.parametrize(("row", "lax"), cases(accepted=False, having="message"))
def test_other_refusals_name_the_same_fields(row: dict[str, Any], lax: bool) -> None:
    errors = answer(row, lax=lax).texts(Severity.ERROR)
    unknown = re.findall(r'unknown field "[^"]*"', row["message"])
    wrong_type = re.search(r"Go struct field \w+\.(\S+) of type", row["message"])
    if unknown:
        assert set(unknown) == {error for error in errors if error.startswith("unknown field")}
    elif wrong_type:
        fields = {re.sub(r"\[[^]]*\]", "", error.partition(": expected ")[0]) for error in errors}
        assert wrong_type[1] in fields
    else:
        assert any(error.startswith(OTHER_REASON.get(row["id"], "")) for error in errors)


@pytest.mark.parametrize(("row", "lax"), cases(accepted=True))
def test_the_servers_warnings_are_given(row: dict[str, Any], lax: bool) -> None:
    warnings = [warning for warning in answer(row, lax=lax).texts(Severity.WARNING) if "given twice" not in warning]
    assert warnings == row.get("warnings", [])


@pytest.mark.parametrize(("row", "lax"), cases(accepted=True, kind="NetworkPolicy"))
def test_an_accepted_policy_is_the_one_the_server_stored(row: dict[str, Any], lax: bool) -> None:
    stored = row["stored"]
    if "generateName" in stored["metadata"] and not stored["metadata"]["name"].isalpha():
        stored["metadata"]["name"] = f"{stored['metadata']['generateName']}00001"
    (policy,) = answer(row, lax=lax).objects
    assert isinstance(policy, NetworkPolicy)
    assert (policy.namespace, policy.name) == (stored["metadata"]["namespace"], stored["metadata"]["name"])
    assert written(policy) == masked(stored["spec"])


@pytest.mark.parametrize(("row", "lax"), cases(accepted=True))
def test_what_a_server_stored_is_read_from_a_dump(row: dict[str, Any], lax: bool) -> None:
    stored = row["stored"]
    dump = {**stored, "metadata": {**stored["metadata"], "uid": "1", "resourceVersion": "2"}}
    documents, _ = parse(json.dumps(dump).encode(), "dump.json")
    objects, problems = decode(documents)[:2]
    assert [problem for problem in problems if problem.severity is Severity.ERROR] == []
    ((kind, _, name),) = [item.key for item in objects]
    assert (kind, name) == (stored["kind"], stored["metadata"]["name"])


def masked(spec: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a stored spec with canonical addresses, which the server keeps as typed, and selectors as terms."""
    if isinstance(spec, dict):
        if spec.keys() & {"matchLabels", "matchExpressions"}:
            return terms_of(spec)
        return {key: masked(value) for key, value in spec.items()}
    if isinstance(spec, list):
        return [masked(value) for value in spec]
    return CANONICAL.get(spec, spec) if isinstance(spec, str) else spec


CANONICAL = {
    "10.1.2.3/24": "10.1.2.0/24",
    "10.0.0.0/0": "0.0.0.0/0",
    "10.0.0.0/08": "10.0.0.0/8",
    "010.0.0.0/8": "10.0.0.0/8",
    "10.000.0.0/8": "10.0.0.0/8",
    "10.1.2.3/16": "10.1.0.0/16",
    "10.1.2.128/24": "10.1.2.0/24",
    "2001:db8::1/64": "2001:db8::/64",
    "2001:0db8:0000:0000:0000:0000:0000:0000/32": "2001:db8::/32",
    "2001:DB8::/32": "2001:db8::/32",
    "2001:db8:0:0:0:0:0:0/32": "2001:db8::/32",
    "64:ff9b::10.0.0.0/104": "64:ff9b::a00:0/104",
    "::ffff:10.0.0.0/104": "10.0.0.0/8",
    "::ffff:10.1.2.3/128": "10.1.2.3/32",
    "::ffff:0:0/96": "0.0.0.0/0",
    "::ffff:10.0.0.0/33": "::/33",
    "::ffff:10.1.0.0/112": "10.1.0.0/16",
}


def written(policy: NetworkPolicy) -> dict[str, Any]:
    """Return a policy's spec as JSON in the form the server stores: nothing empty but selectors."""
    spec: dict[str, Any] = {"podSelector": selector(policy.pod_selector), "policyTypes": list(policy.policy_types)}
    for key, peers, rules in (("ingress", "from", policy.ingress), ("egress", "to", policy.egress)):
        if rules:
            spec[key] = [rule(item, peers) for item in rules]
    return spec


def rule(item: Rule, peers: str) -> dict[str, Any]:
    ports = [
        {"protocol": port.protocol}
        | ({} if port.port is None else {"port": port.port})
        | ({} if port.end_port is None else {"endPort": port.end_port})
        for port in item.ports
    ]
    return ({"ports": ports} if ports else {}) | ({peers: [peer(one) for one in item.peers]} if item.peers else {})


def peer(item: Peer) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if item.pod_selector is not None:
        result["podSelector"] = selector(item.pod_selector)
    if item.namespace_selector is not None:
        result["namespaceSelector"] = selector(item.namespace_selector)
    if item.ip_block is not None:
        result["ipBlock"] = block(item.ip_block)
    return result


def block(item: IPBlock) -> dict[str, Any]:
    return {"cidr": item.cidr} | ({"except": list(item.excepts)} if item.excepts else {})


def selector(item: Selector) -> dict[str, Any]:
    terms = sorted((term.key, term.operator, term.values) for term in item.requirements)
    return {"terms": terms} if terms else {}


def terms_of(stored: dict[str, Any]) -> dict[str, Any]:
    terms = [(key, "In", (value,)) for key, value in stored.get("matchLabels", {}).items()]
    terms += [
        (term["key"], term["operator"], tuple(term.get("values", ()))) for term in stored.get("matchExpressions", ())
    ]
    return {"terms": sorted(terms)}


ANSWER = {
    (fields[0], fields[1] == "lax"): fields[2:]
    for fields in (line.split("\t") for line in (DATA / "answer.tsv").read_text(encoding="utf-8").splitlines()[1:])
}


def test_every_refusal_is_classified_for_answers() -> None:
    assert ANSWER.keys() == {(row["id"], lax) for row, lax in CASES if not row["accepted"]}


@pytest.mark.parametrize(
    ("row", "lax"),
    [pytest.param(row, lax, id=f"lax-{row['id']}" if lax else row["id"]) for row, lax in CASES if not row["accepted"]],
)
def test_only_what_an_answer_may_depend_on_is_an_error_at_the_level_of_answers(row: dict[str, Any], lax: bool) -> None:
    verdict, reason = ANSWER[row["id"], lax]
    found = answer(row, level="answer")
    strictly = answer(row, level="lax" if lax else "strict")
    if verdict == "error":
        assert found.texts(Severity.ERROR), reason
    else:
        assert not found.texts(Severity.ERROR), reason
        assert bool(strictly.texts(Severity.ERROR)) is (verdict == "warning")
    if verdict == "warning":
        # It is read all the same, and said to be odd.
        assert found.objects
        assert found.texts(Severity.WARNING)
        assert reason
