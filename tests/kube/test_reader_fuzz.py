# SPDX-License-Identifier: Apache-2.0
"""Whatever the bytes, reading ends in documents or problems: soon, in little memory, and never in an exception."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.kube.yaml import parse
from tests.twin.effort import LONG, tried

_POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: &m {name: web, labels: {app: "web", tier: 'front'}}
spec:
  # comment
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from:
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, "10.2.0.0/16"]}
    ports: [{port: 80}, {port: http, protocol: TCP}]
  note: |
    text
      more
  folded: >-
    a
    b
  other: {<<: *m, x: !!str 1, ? y : .5}
---
{"kind": "Pod", "spec": {"a": [1, 2.5, true, null, "\\u00e9\\n"]}}
"""
_JSON = '{"kind": "Pod", "spec": {"a": [1, 2.5e3, true, null, "\\u00e9\\ud83d\\ude00\\n"], "b": {}}}\n{"c": -0.0}\n'
_PIECES = [
    "\n",
    "\n  ",
    "\t",
    " ",
    ": ",
    "- ",
    "? ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "&a ",
    "*a",
    "*m",
    "!",
    "!!int ",
    "!x!",
    '"',
    "'",
    "\\",
    "\\/",
    "|",
    ">",
    "#",
    "%",
    "@",
    "`",
    "---\n",
    "--- x\n",
    "...\n",
    "<<: ",
    "~",
    "0x",
    "1_0",
    "1e999",
    ".inf",
    "\r",
    "\r\r\n",
    "\ufeff",
    "\x85",
    "\u2028",
    "\x00",
    "\x1b",
    "é",
    "😀",
    "�",
    "9" * 30,
    "\\ud800",
    "\\u",
    "null",
]

_fuzz = tried(1000)


def check(data: bytes) -> None:
    documents, problems = parse(data, "f")
    text = data.decode("utf-8", "replace")
    lines = text.count("\n") + 1
    for document in documents:
        json.dumps(document.value, allow_nan=False)
        waiting: list[tuple[tuple[str | int, ...], object]] = [((), document.value)]
        while waiting:
            path, value = waiting.pop()
            assert 1 <= document.locate(path).line <= lines
            assert 1 <= document.locate(path, at_key=True).line <= lines
            assert document.excerpt(path)
            items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            waiting += [((*path, step), below) for step, below in items]
    for problem in problems:
        assert str(problem).startswith("f:")
        assert 0 <= problem.position.line <= lines


@_fuzz
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    check(data)


@_fuzz
@given(st.lists(st.sampled_from(_PIECES), max_size=30))
def test_any_mixture_of_indicators(pieces: list[str]) -> None:
    check("".join(pieces).encode("utf-8", "surrogatepass"))


@_fuzz
@given(
    st.sampled_from([_POLICY, _JSON]),
    st.lists(
        st.tuples(st.integers(0, 800), st.integers(0, 4), st.one_of(st.just(""), st.sampled_from(_PIECES))),
        min_size=1,
        max_size=4,
    ),
)
def test_damaged_manifests(text: str, damage: list[tuple[int, int, str]]) -> None:
    for place, cut, piece in damage:
        start = place % (len(text) + 1)
        text = text[:start] + piece + text[start + cut :]
    check(text.encode("utf-8", "surrogatepass"))


@_fuzz
@given(st.sampled_from([_POLICY, _JSON]), st.integers(0, 800), st.binary(min_size=1, max_size=3))
def test_damaged_bytes(text: str, place: int, piece: bytes) -> None:
    data = text.encode()
    check(data[: place % len(data)] + piece + data[place % len(data) :])


@_fuzz
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63 - 1)
        | st.floats(1e-5, 1e5).filter(lambda x: x % 1)
        | st.text(),
        lambda below: st.lists(below) | st.dictionaries(st.text(), below),
        max_leaves=15,
    )
)
def test_json_is_read_as_the_standard_library_reads_it(value: object) -> None:
    documents, problems = parse(json.dumps({"x": value}).encode(), "f")
    assert problems == []
    assert documents[0].value == {"x": value}


# As much as a hostile author may send in one go; a quarter shows the same on every run.
_MB = 1_000_000 if LONG else 250_000
_DEEP = 9_000
_LETTERS = "abcdefghijklmnopqrstu"
_HOSTILE = {
    "brackets": "[" * _MB,
    "braces": "{" * _MB,
    "dashes": "- " * (_MB // 2),
    "question-marks": "? " * (_MB // 2),
    "anchors": "&a " * (_MB // 3),
    "aliases": "*a " * (_MB // 3),
    "double-quotes": '"' * (_MB - 1),
    "single-quotes": "'" * (_MB - 1),
    "colons": ": " * (_MB // 2),
    "merges": "<<: " * (_MB // 4),
    "merges-of-nothing": "<<: {}\n" * (_MB // 7),
    "percents": "%" * _MB,
    "directives": "%A\n" * (_MB // 3),
    "nuls": "\0" * _MB,
    "nuls-after-text": "a: b\n" * 2000 + "\0" * _MB,
    "tags": "!a " * (_MB // 3),
    "long-tag": "!" + "a" * _MB,
    "spaces": " " * _MB,
    "tabs": "\t" * _MB,
    "blank-lines": "a: |\n" + "\n" * _MB,
    "long-line": "a: " + "b " * (_MB // 2),
    "long-key": "a" * _MB + ": 1",
    "long-comment": "#" * _MB,
    "many-lines-of-text": "a\n" * (_MB // 2),
    "carriage-returns": "a:\r" * (_MB // 3),
    "byte-order-marks": "a\n\ufeff" * (_MB // 5),
    "empty-documents": "---\n" * (_MB // 4),
    "small-documents": "a\n---\n" * (_MB // 6),
    "bad-separators": "--- x\n" * (_MB // 6),
    "broken-documents": "[\n---\n" * (_MB // 6),
    "end-markers": "...\n" * (_MB // 4),
    "after-the-end": "a\n...\n" + " ..." * (_MB // 4),
    "many-keys": "".join(f"{number:x}:\n" for number in range(_MB * 3 // 20)),
    "many-keys-in-braces": "{" + "".join(f"{number:x}, " for number in range(_MB * 7 // 50)) + "}",
    "one-key-again-and-again": "a: 1\n" * (_MB // 5),
    "every-key-twice": "".join(f"k{number // 2}: 1\n" for number in range(_MB // 10)),
    "many-items": "-\n" * (_MB // 2),
    "many-items-in-brackets": "[" + "1," * (_MB // 2) + "]",
    "pairs-in-brackets": "[" + "a: 1," * (_MB // 5) + "]",
    "questions-in-brackets": "[" + "? a," * (_MB // 5) + "]",
    "deep-lists": "[a," * _DEEP + "]" * _DEEP,
    "deep-mappings": "{a: " * _DEEP + "}" * _DEEP,
    "deep-and-wide": "[" * 5000 + "a," * 333_333 + "]" * 5000,
    "deep-blocks": "".join(f"{' ' * depth}a:\n" for depth in range(1400)),
    "deep-json": '{"a":' * _DEEP + "1" + "}" * _DEEP,
    "deep-json-unclosed": '{"a":' * (_MB // 5),
    "many-json-objects": "{}" * (_MB // 2),
    "long-json-list": '{"a":[' + "1.5," * (_MB // 4) + "1]}",
    "long-integer": "a: 1" + "0" * (_MB * 9 // 10),
    "long-integer-in-json": '{"a": 1' + "0" * (_MB * 9 // 10) + "}",
    "long-hexadecimal": "a: 0x" + "f" * (_MB * 9 // 10),
    "long-octal": "a: 0" + "7" * (_MB * 9 // 10),
    "long-float": "a: 1." + "0" * (_MB * 9 // 10),
    "long-underscores": "a: 1" + "_" * (_MB * 9 // 10),
    "long-integer-as-key": "a:\n  ? 1" + "0" * (_MB * 9 // 10) + "\n",
    "surrogates": '{"a":"' + "\\ud800" * (_MB // 6) + '"}',
    "escapes": 'a: "' + "\\x41" * (_MB // 4) + '"',
    "backslashes": 'a: "' + "\\\\" * (_MB // 2) + '/"',
    "escaped-slashes": 'a: "' + "\\/" * (_MB // 2) + '"',
    "binary": "a: !!binary " + "A" * _MB,
    "aliases-of-aliases": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{name}: &{name} [{','.join(['*' + chr(ord(name) - 1)] * 9)}]\n" for name in _LETTERS[1:]),
    "aliases-in-each-document": "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b,*b]\n---\n"
    * (_MB * 3 // 250),
    "merges-of-merges": "a: &a {a: 1}\n"
    + "".join(f"{name}: &{name} {{<<: [{','.join(['*' + chr(ord(name) - 1)] * 9)}]}}\n" for name in _LETTERS[1:]),
    "merges-of-a-large-mapping": "m: &m {"
    + ",".join(f"k{number}: 1" for number in range(5000))
    + "}\nl:\n"
    + "- <<: *m\n" * (_MB * 9 // 100),
    "many-aliases": "- &a x\n" + "- *a\n" * (_MB // 5),
    "many-anchors": "".join(f"- &a{number} x\n" for number in range(_MB * 2 // 25)),
}
_CHILD = """
import json, sys, time
from podfence.kube.yaml import parse
data = sys.stdin.buffer.read()
start = time.process_time()
documents, problems = parse(data, "f")
for document in documents[-1:]:
    document.locate(("a", 0, "b"))
    document.excerpt(())
# Not the peak that getrusage tells: it counts the memory of the process that has started this one.
peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) // 1024
print(json.dumps([len(documents), [str(problem) for problem in problems[:1]], time.process_time() - start, peak]))
"""
_SECONDS = 60 if LONG else 30
_MEGABYTES = 500 if LONG else 150
# Nothing but comments, blanks and null is neither a document nor a problem.
_NOTHING = {"long-comment", "spaces", "empty-documents"}


_LIMITS = {
    "brackets": "nested deeper than 10000 levels",
    "deep-json-unclosed": "nested deeper than 10000 levels",
    "deep-and-wide": "too much stands in brackets that are too deep",
    "aliases-of-aliases": "document contains excessive aliasing",
    "merges-of-merges": "document contains excessive aliasing",
    "nuls": "this is binary data, not YAML or JSON",
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile_input_ends_soon_in_little_memory_and_its_limit_is_named(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input=_HOSTILE[name].encode(), capture_output=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]
    documents, problems, seconds, peak = json.loads(done.stdout)
    assert bool(documents or problems) == (name not in _NOTHING)
    assert _LIMITS.get(name, "") in "".join(problems)
    assert seconds < _SECONDS
    assert peak < _MEGABYTES


def test_ordinary_brackets_are_not_mistaken_for_hostile_ones() -> None:
    colours = "a: |\n" + "  \x1b[31mred\n".replace("\x1b", "ESC") * 60_000
    assert parse(colours.encode(), "f")[1] == []
