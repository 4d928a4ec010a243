# SPDX-License-Identifier: Apache-2.0
"""YAML and JSON are read as kubectl reads them: every recorded row, and what the recording does not show."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from podfence.kube.findings import Severity
from podfence.kube.yaml import parse

_RECORDED = Path(__file__).parent.parent / "data" / "apiserver" / "yaml.jsonl"
_ROWS = [json.loads(line) for line in _RECORDED.read_text().splitlines()]
_HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"
_LONG = {
    "long-line": f"{_HEAD}x: {'a' * 100_000}\n",
    "long-line-6m": f"{_HEAD}x: {'a' * 6_000_000}\n",
    "deep-flow": f"{_HEAD}x: {'[' * 1000}{']' * 1000}\n",
    "deep-flow-11000": f"{_HEAD}x: {'[' * 11_000}{']' * 11_000}\n",
    "deep-block": f"{_HEAD}x:\n" + "".join(f"{' ' * depth}k:\n" for depth in range(1, 301)),
}
# Not read exactly as kubectl reads it, and refused instead; none is among the recorded rows.
_REFUSED_HERE_ONLY = [
    pytest.param("x: {a:}\n", "found unexpected ':'", id="colon-before-bracket"),
    pytest.param("x: [a:,b]\n", "found unexpected ':'", id="colon-before-comma"),
    pytest.param("x: !a]b c\n", "did not find expected whitespace or line break", id="bracket-in-tag"),
    pytest.param("x: 1\n\ufeffy: 2\n", "a byte order mark (U+FEFF) stands inside a document", id="bom-on-later-line"),
]


def read(text: str | bytes) -> tuple[list[object], list[str]]:
    documents, problems = parse(text.encode() if isinstance(text, str) else text, "f")
    return [document.value for document in documents], [str(problem) for problem in problems]


def values(text: str | bytes) -> list[object]:
    found, problems = read(text)
    assert problems == []
    return found


def as_json(value: object) -> object:
    """Compare like JSON: 1 is not true, key order does not count, and integers beyond int64 are floats."""
    if isinstance(value, dict):
        return {key: as_json(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return ("float", float(value))
    return (type(value).__name__, value)


def without_default_namespace(objects: list[dict[str, object]]) -> list[object]:
    for item in objects:
        metadata = item.get("metadata")
        if isinstance(metadata, dict) and metadata.get("namespace") == "default":
            del metadata["namespace"]
    return [as_json(item) for item in objects]


@pytest.mark.parametrize("row", [pytest.param(row, id=row["id"]) for row in _ROWS])
def test_a_document_means_what_it_means_to_kubectl(row: dict[str, object]) -> None:
    data = (
        bytes.fromhex(str(row["yaml_hex"]))
        if "yaml_hex" in row
        else str(row["yaml"] or _LONG.get(str(row["id"]), "")).encode()
    )
    documents, problems = parse(data, "f")
    found = [document.value for document in documents]
    error = str(row.get("error", ""))
    unreadable = error.startswith("error: error parsing STDIN")

    assert any(problem.severity is Severity.ERROR for problem in problems) == unreadable
    if "value" in row:
        assert len(found) == 1
        document = found[0]
        assert isinstance(document, dict)
        assert as_json(document.get("w", document.get("x"))) == as_json(row["value"])
    if "objects" in row:
        if str(row["id"]).startswith("list") and isinstance(found[0], dict):
            found = found[0].get("items") or found
        objects = without_default_namespace(row["objects"])  # type: ignore[arg-type]
        read_objects = [as_json(item) for item in found]
        if unreadable:
            assert read_objects[: len(objects)] == objects
        else:
            # Those that kubectl read and then refused for their kind are not our business here.
            assert [item for item in read_objects if item in objects] == objects
            assert error or len(read_objects) == len(objects)


def test_all_recorded_rows_are_tested() -> None:
    assert len({row["id"] for row in _ROWS}) == 432


@pytest.mark.parametrize(("text", "depth"), [(_LONG["deep-flow"], 999), (_LONG["deep-block"], 300)])
def test_deep_nesting_is_kept(text: str, depth: int) -> None:
    value = values(text)[0]
    assert isinstance(value, dict)
    value = value["x"]
    levels = 0
    while value:
        value = value[0] if isinstance(value, list) else value["k"]
        levels += 1
    assert levels == depth


@pytest.mark.parametrize(("text", "message"), _REFUSED_HERE_ONLY)
def test_rare_things_that_only_kubectl_reads_are_refused_with_a_reason(text: str, message: str) -> None:
    assert message in read(text)[1][0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (".9_6", 0.96),
        ("._9", "._9"),
        (".5e1_0", 5_000_000_000),
        ("0b+1", 1),
        ("0b-1", -1),
        ("-0b-1", "-0b-1"),
        ("1e21", 1e21),
        ("9007199254740993.0", 9007199254740992),
        ("9223372036854774784.0", 9223372036854775000),
        ("9223372036854775808.0", 9223372036854775808.0),
        ("-9223372036854775808.0", -9223372036854775808.0),
        ("1" + "0" * 308, 1e308),
        ("1" + "0" * 309, "1" + "0" * 309),
        ("+18446744073709551615", 18446744073709551615.0),
        ("0x" + "f" * 17, "0x" + "f" * 17),
        ("-0x8000000000000000", -(2**63)),
        ("!!timestamp 2024-02-29", "2024-02-29"),
        ("!!float 0x10", 16),
        ("!!int '0b11'", 3),
        ("!!bool y", True),
        ("!!binary 4oKsw6k=", "€é"),
        ("!!binary 4oI=", "\ufffd\ufffd"),
        ("&a ! 1", "1"),
        ("! &a 1", "1"),
    ],
)
def test_scalars_beyond_the_recording(text: str, value: object) -> None:
    assert as_json(values(f"x: {text}\n")) == as_json([{"x": value}])


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("1e6", "1e+06"),
        ("100000.0", "100000"),
        ("0.1", "0.1"),
        ("0.00001", "1e-05"),
        ("123456.789", "123456.79"),
        ("-0.0", "-0"),
        ("1e300", ".inf"),
        ("-1e300", "-.inf"),
        (".nan", ".nan"),
        ("!!str 1", "1"),
        ("! 1", "1"),
        ("!!int '0x10'", "16"),
    ],
)
def test_keys_become_strings_as_go_writes_them(key: str, text: str) -> None:
    assert values(f"{key}: v\n") == [{text: "v"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n---\n", [{"a": 1}]),
        ("---\n---\n---\na: 1\n---\n---\n", [{"a": 1}]),
        ("--- #\na: 1\n", [{"a": 1}]),
        ("a: 1\r\n---\r\nb: 2\r\n", [{"a": 1}, {"b": 2}]),
        ("a: |\n  x\r\r\n  y\n", [{"a": "x\ny\n"}]),
        ("a: |+\n  x", [{"a": "x\n"}]),
        ("\ufeffa: 1\n", [{"a": 1}]),
        ("", []),
        ("# nothing\n---\n# nothing\n", []),
        ("null\n---\n~\n", []),
        ("text\n", ["text"]),
        ("- 1\n", [[1]]),
        ("&k 1: a\nb: *k\n", [{"1": "a", "b": 1}]),
        ("x: &a {k: 1}\nv: {<<: *a, k: 2}\nz: {k: 2, <<: *a}\n", [{"x": {"k": 1}, "v": {"k": 2}, "z": {"k": 1}}]),
        ("x: {! <<: {a: 1}}\n", [{"x": {"a": 1}}]),
        ("x: {!!merge <<: {a: 1}}\n", [{"x": {"a": 1}}]),
        ("x: {!!str <<: {a: 1}}\n", [{"x": {"<<": {"a": 1}}}]),
    ],
)
def test_streams_and_merges(text: str, expected: list[object]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a":1}{"b":2}', [{"a": 1}, {"b": 2}]),
        ('{"a":1}\n[1]\n"x" null 5', [{"a": 1}, [1], "x", 5]),
        ('{"a":"\\/"}', [{"a": "/"}]),
        ('{"a":"\\ud83d\\ude00\\ude00"}', [{"a": "\U0001f600\ufffd"}]),
        ('{"a":18446744073709551615}', [{"a": 18446744073709551615.0}]),
        ('{"a":-0.0,"b":1E2}', [{"a": 0, "b": 100}]),
        ('{"a":[],"b":{},"c":[{}]}', [{"a": [], "b": {}, "c": [{}]}]),
        ('\n \t{"a":1}', [{"a": 1}]),
        ("{a: yes}", [{"a": True}]),
        ('{"a":1,}', [{"a": 1}]),
        ('{"a":1}\n---\nb: y\n---\n{"c":1}', [{"a": 1}, {"b": True}, {"c": 1}]),
    ],
)
def test_json_streams(text: str, expected: list[object]) -> None:
    assert as_json(values(text)) == as_json(expected)


@pytest.mark.parametrize("text", ['{"a":1}{"b":2}\n---\nc: 1\n', '{"a":1} ]]\n', '{"a":1e999}{"b":1}', '{"a":1}\n}'])
def test_json_that_does_not_go_on_as_kubectl_wants_is_refused(text: str) -> None:
    assert ": error: " in read(text)[1][-1]


def test_json_may_nest_as_deep_as_kubectl_lets_it() -> None:
    deep = '{"a":' + "[" * 9_999 + "]" * 9_999 + "}"
    value = values(deep)[0]
    levels = 0
    while value:
        value = value["a"] if isinstance(value, dict) else value[0]  # type: ignore[index]
        levels += 1
    assert levels == 9_999
    assert "nested deeper than 10000 levels" in read('{"a":' + "[" * 10_000 + "]" * 10_000 + "}")[1][0]


def test_what_follows_the_end_of_a_document_is_named_where_kubectl_drops_it_silently() -> None:
    found, problems = read("a: 1\n...\n# fine\nb: 2\n")
    assert found == [{"a": 1}]
    assert problems == [
        "f:4:1: warning: what follows the end of the document is not read (begin another document with a line ---)"
    ]
    assert values("a: 1\n...\n# fine\n\n...\n") == [{"a": 1}]


def test_a_broken_document_does_not_hide_the_others() -> None:
    found, problems = read("a: 1\n---\nb: [\n---\nc: 3\n---\nd: @\n---\ne: 5\n")
    assert found == [{"a": 1}, {"c": 3}, {"e": 5}]
    assert [problem.split(" ")[0] for problem in problems] == ["f:3:5:", "f:7:4:"]


def test_utf_16_with_a_byte_order_mark_is_read() -> None:
    assert values("a: é\n".encode("utf-16")) == [{"a": "é"}]
    assert values(b"\xfe\xff" + "a: 1\n".encode("utf-16-be")) == [{"a": 1}]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"a\xe2\x82b", "a\ufffdb"),
        (b"\xf0\x9f\x98", "\ufffd"),
        (b"\xc0\x80", "\ufffd\ufffd"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_bytes_that_are_not_utf_8_become_replacement_characters(data: bytes, text: str) -> None:
    assert values(b"x: " + data + b"\n") == [{"x": text}]


def test_bytes_that_are_not_utf_8_are_refused_behind_a_byte_order_mark() -> None:
    assert read(b"\xef\xbb\xbfa: \xc3\xa9\nb: \xc3\xa9\xff\n") == (
        [],
        ["f:2:5: error: the text is not UTF-8, though its byte order mark says so (save it as UTF-8)"],
    )


def test_equal_texts_share_one_string() -> None:
    first, second = values("app: web-1-x\n---\nname: web-1-x\n")
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["app"] is second["name"]


def test_floats_are_finite() -> None:
    (found,) = values("x: [1e308, .5, -1.5e-3]\n")
    assert isinstance(found, dict)
    assert all(math.isfinite(number) for number in found["x"])
