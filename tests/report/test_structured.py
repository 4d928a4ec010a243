# SPDX-License-Identifier: Apache-2.0
"""Documents: JSON and YAML of every kind, and their schemas."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from podfence.errors import PodfenceError
from podfence.policy.options import describe
from podfence.report import about, formats, schema, structured
from podfence.report.documents import KINDS
from podfence.report.style import PAGE
from tests.report import samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.analysis.answers import PodConnection

DOCUMENTS = [
    *samples.VERDICTS,
    samples.SHOP,
    samples.DEPENDING,
    samples.NOTHING,
    samples.GRID,
    about.options(describe()),
    samples.CONFIG,
    samples.VERSION,
    *samples.VERIFICATIONS,
    samples.STATUS,
    samples.LAB,
    samples.ON_A_NODE,
    *samples.DIFFERENCES,
]


def _texts() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        yield type(document).__name__, "\n".join(structured.json_lines(document))
    for connections in ((), samples.PODS):
        yield "PodConnections", "\n".join(structured.pods_json(connections))


TEXTS = list(_texts())


@pytest.mark.parametrize(("kind", "text"), TEXTS)
def test_json_reads_back_into_the_types_and_nothing_is_lost(kind: str, text: str) -> None:
    value = msgspec.json.decode(text, type=KINDS[kind])

    assert json.loads(msgspec.json.encode(value)) == json.loads(text)


@pytest.mark.parametrize(("kind", "text"), TEXTS)
def test_json_holds_to_its_schema(kind: str, text: str) -> None:
    rules = json.loads(schema.text(kind))

    _conforms(json.loads(text), rules, rules["$defs"])


@pytest.mark.parametrize(("kind", "text"), TEXTS)
def test_a_document_says_first_what_it_is(kind: str, text: str) -> None:
    assert list(json.loads(text).items())[:2] == [("apiVersion", "podfence/v1"), ("kind", kind)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_yaml_states_the_same_facts_in_the_same_order(document: msgspec.Struct) -> None:
    fromjson = json.loads("\n".join(structured.json_lines(document)))
    fromyaml = yaml.safe_load("\n".join(structured.yaml_lines(document)))

    assert json.dumps(fromyaml) == json.dumps(fromjson)


@pytest.mark.parametrize("connections", [(), samples.PODS])
def test_yaml_of_pods_states_the_same_facts(connections: tuple[PodConnection, ...]) -> None:
    fromjson = json.loads("\n".join(structured.pods_json(connections)))

    assert yaml.safe_load("\n".join(structured.pods_yaml(connections))) == fromjson


def test_ports_are_numbers_and_everything_is_a_flag() -> None:
    answer = json.loads("\n".join(structured.json_lines(samples.SHOP)))

    assert answer["connections"][0]["ports"] == {
        "everything": False,
        "ranges": [{"protocol": "TCP", "from": 5000, "to": 5000}],
    }
    assert answer["connections"][2]["ports"] == {"everything": True, "ranges": []}
    assert answer["connections"][2]["destinations"]["openPods"] is True


def test_a_verdict_names_policy_rule_file_line_miss_options_and_semantics() -> None:
    answer = json.loads("\n".join(structured.json_lines(samples.DENIED)))["ingress"]

    assert answer["policies"][0]["position"] == {"file": "policies/db.yaml", "line": 3, "column": 1}
    assert (answer["nearest"]["rule"]["direction"], answer["nearest"]["rule"]["index"]) == ("ingress", 0)
    assert answer["nearest"]["rule"]["excerpt"][0] == {"number": 9, "text": "  - from:"}
    assert answer["nearest"]["gap"] == "the source has app=web"
    assert answer["options"] == ["named-port-without-peer"]
    assert answer["semantics"] == "2.3"


@pytest.mark.parametrize("form", formats.names("PodConnections"))
def test_pods_are_written_as_they_come(form: str) -> None:
    drawn = 0

    def connections() -> Iterator[PodConnection]:
        nonlocal drawn
        for item in samples.PODS * 50:
            drawn += 1
            yield item

    lines = formats.lines("PodConnections", form, connections(), PAGE)
    for line in lines:
        if "shop/web-1" in line:
            break

    assert drawn <= 2


@pytest.mark.parametrize("kind", ["Verdict", "verdict", "VERDICT"])
def test_a_kind_is_found_in_any_case(kind: str) -> None:
    assert json.loads(schema.text(kind))["$ref"] == "#/$defs/Verdict"


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("Verdit", "did you mean Verdict?"),
        ("PodConnection", "did you mean PodConnections?"),
        ("qqq", "there are Connectivity,"),
    ],
)
def test_an_unknown_kind_is_refused_with_the_nearest_name(kind: str, hint: str) -> None:
    with pytest.raises(PodfenceError, match="unknown kind") as caught:
        schema.text(kind)

    assert hint in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_a_kind_is_required(kind: str) -> None:
    definition = json.loads(schema.text(kind))["$defs"][kind]

    assert definition["required"] == list(definition["properties"])


def _conforms(value: object, rule: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Assert that `value` holds to the part of JSON Schema that msgspec writes."""
    if "$ref" in rule:
        rule = definitions[rule["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in rule:
        options = [option for option in rule["anyOf"] if (option.get("type") == "null") == (value is None)]
        if "discriminator" in rule and isinstance(value, dict):
            options = [{"$ref": rule["discriminator"]["mapping"][value[rule["discriminator"]["propertyName"]]]}]
        assert options, (value, rule)
        _conforms(value, options[0], definitions)
    elif "enum" in rule:
        assert value in rule["enum"]
    else:
        types = {
            "object": dict,
            "array": list,
            "string": str,
            "integer": int,
            "number": float,
            "boolean": bool,
            "null": type(None),
        }
        assert type(value) is types[rule["type"]], (value, rule)
    if isinstance(value, dict) and rule.get("type") == "object":
        known = rule.get("properties", dict.fromkeys(value, rule.get("additionalProperties")))
        assert set(rule.get("required", ())) <= set(value) <= set(known)
        for name, item in value.items():
            _conforms(item, known[name], definitions)
    if isinstance(value, list):
        for item in value:
            _conforms(item, rule["items"], definitions)
