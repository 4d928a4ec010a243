# SPDX-License-Identifier: Apache-2.0
"""A document that is read line by line has the value that libyaml's reader gives it, and most manifests are so read."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.kube import linewise, strictness
from podfence.kube.linewise import Lines, NotPlainError
from podfence.kube.scalars import PlainScalars
from tests.twin.effort import tried

_PLAIN = """\
---
# A policy
apiVersion: networking.k8s.io/v1 # current
kind: NetworkPolicy
metadata:
  name: "web"
  annotations:
    example.com/note: it's a "note":no
    example.com/url: 'https://example.com/#top'
    empty: ''
    "helm.sh/hook": test
    "": key
  labels: {}
spec:

  podSelector:
    matchLabels:
      app: web
  ingress:
  - from:
    - namespaceSelector: {}
      podSelector:
        matchExpressions:
        - key: app
          operator: In
          values:
            - a
            -  b-c
    - ipBlock:
        cidr: 10.0.0.0/8
    ports:
    -   port: 080
        protocol: TCP
    - port: 0x50
  - ports: []
  egress:
  - from: [{podSelector: {matchLabels: {app: web, tier: "front"}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
    ports: [{port: 80}, {port: 0x50, protocol: 'UDP'}] # two
  - { }
  policyTypes: [ Ingress,Egress ]
""".replace("''\n", "''  \n")
_NOT_PLAIN = {
    "two-dashes": "- - a\n",
    "only-a-dash": "-\n",
    "a-dash-before-a-comment": "- # a\n",
    "a-text-of-two-lines": "a: b\n  c\n",
    "a-quoted-text-of-two-lines": 'a: "b\n  c"\n',
    "a-key-in-a-text": "a: b\n  c: d\n",
    "an-item-in-a-text": "a: b\n  - c\n",
    "an-item-in-an-item": "- a\n  - b\n",
    "two-colons": "a: b: c\n",
    "a-colon-at-the-end": "a: b:\n",
    "a-space-before-the-colon": "a : b\n",
    "a-block": "a: |\n  b\n",
    "brackets-over-two-lines": "a: [b,\n  c]\n",
    "brackets-alone": "[a]\n",
    "brackets-before-a-text": "a: [b] c\n",
    "brackets-that-do-not-fit": "a: [b}\n",
    "a-comma-before-a-bracket": "a: [b, ]\n",
    "a-key-twice-in-brackets": "a: {b: 1, b: 2}\n",
    "a-key-in-brackets-that-is-no-text": "a: {on: push}\n",
    "a-key-without-a-value-in-brackets": "a: {b, c}\n",
    "a-colon-without-a-space-in-brackets": "a: {b:c}\n",
    "a-text-of-two-words-in-brackets": "a: [b c]\n",
    "a-text-with-quotes-inside-in-brackets": 'a: [b"c"]\n',
    "infinity-in-brackets": "a: [.inf]\n",
    "deep-brackets": f"a: {'[' * 101}{']' * 101}\n",
    "an-anchor": "a: &b c\n",
    "an-alias": "a: *b\n",
    "a-tag": "a: !!str 1\n",
    "a-merge": "<<: {}\n",
    "an-escape": 'a: "\\n"\n',
    "a-quote-in-quotes": "a: 'it''s'\n",
    "a-key-twice": "a: 1\nb: 2\na: 3\n",
    "a-key-that-is-no-text": "on: push\n",
    "infinity": "a: .inf\n",
    "a-tab": "a:\tb\n",
    "beyond-ascii": "a: \xe9\n",
    "a-carriage-return": "a: b\r\n",
    "a-directive": "%YAML 1.1\n",
    "an-end": "a: b\n...\n",
    "between-two-columns": "a:\n    b: c\n  d: e\n",
    "before-the-first-column": "  a: b\nc: d\n",
    "a-key-after-items": "- a\nb: c\n",
    "items-after-a-key": "a: b\n- c\n",
    "a-text-alone": "a\n",
    "nothing": "\n# nothing\n",
    "a-long-key": f"{'a' * 300}: b\n",
    "deep": "".join(f"{' ' * depth}a:\n" for depth in range(200)),
}

_INDENTS = [" " * number for number in (0, 0, 0, 1, 2, 2, 3, 4, 4, 6, 8)]
_DASHES = ["", "", "", "", "- ", "- ", "-  ", "-   ", "- - ", "-"]
_KEYS = [
    "a:",
    "b:",
    "c.d/e-f:",
    "a: ",
    "b:  ",
    "x_1:",
    "on:",
    "null:",
    "1:",
    '"a":',
    "a :",
    "a:b:",
    "a",
    "",
    "---",
    "...",
]
_VALUES = [
    *(
        "",
        "",
        "",
        "x",
        "x y",
        " x",
        "x ",
        "x  y",
        "012",
        "0x1F",
        "1e3",
        "1.0",
        "1_0",
        "-1",
        "--",
        "-x",
        "- x",
        "~",
        "null",
    ),
    *(
        "yes",
        ".5",
        ".inf",
        "...",
        "---",
        "<<",
        "a:b",
        "a: b",
        "a:",
        "a :b",
        ":a",
        "a#b",
        "a #b",
        "# b",
        "a# b",
        "$x",
        "(x)",
    ),
    *("'x'", "'x' ", "'x'y", "'it''s'", '"x"', '"x" # y', '"x"#y', '"\\n"', '"', "'", '"a: b"', "'#'", "''", '""'),
    *(
        "[a, b]",
        "[a,b]",
        "[ a ]",
        "{a: b}",
        "{ a: 012 }",
        "{a: b, c: [d, {e: f}]}",
        "[{a: on}, {a: 1e3}]",
        "{a: 'b', c: \"d\"}",
    ),
    *(
        "[a, ]",
        "[,a]",
        "{a}",
        "{a: }",
        "{a:b}",
        "{a: b: c}",
        "[a: b]",
        "{a: b, a: c}",
        "[a b]",
        "[a]]",
        "[[a]",
        "{'a': b}",
        '{"a":b}',
    ),
    *("{}", "[]", "{} ", "{a}", "[a]", "{}x", "{{x}}", "a{b}", "a[b]", "a, b", "|", ">-", "&a", "*a", "!x", "!!int 1"),
    *("%a", "@a", "`a", "?", "? a", "a?", "=", "2001-01-01", "1:30", "\t", "x\ty", "\x7f", "\xe9", "\x85", "\r"),
]
_LINES = st.builds(
    "{}{}{}{}{}\n".format,
    st.sampled_from(_INDENTS),
    st.sampled_from(_DASHES),
    st.sampled_from(_KEYS),
    st.sampled_from(["", " ", " "]),
    st.sampled_from(_VALUES),
)


def is_read_alike(text: str) -> bool:
    """Return whether a text is read line by line, and assert that libyaml's reader gives the same then."""
    try:
        value = linewise.read(text, Lines(PlainScalars()))
    except NotPlainError:
        return False
    found = strictness.read(text, PlainScalars())
    # The texts of values tell 1 from true and 1.0, and the order of keys.
    assert repr(value) == repr(found.value)
    assert not found.duplicates
    assert found.end == len(text)
    return True


def test_a_manifest_without_brackets_and_blocks_is_read_line_by_line() -> None:
    assert is_read_alike(_PLAIN)


@pytest.mark.parametrize("text", _NOT_PLAIN.values(), ids=_NOT_PLAIN)
def test_what_libyaml_may_read_in_another_way_is_left_to_it(text: str) -> None:
    assert not is_read_alike(text)


@pytest.mark.parametrize(
    "line",
    [
        *(f"{before}{' ' * 2000}\t" for before in ("", "-", "- ", "a:", "a: b", 'a: "b"', "a: [b]", "a: b #")),
        *(f"a: {piece * 1000}\t" for piece in ("b ", "b:", "b #", "[", "[ ", '"b" ', "[b, ", "{b: ", "- ", "'")),
        f"{'a' * 5000}\t",
        f"a: [{'b' * 5000}\t",
    ],
)
def test_a_line_takes_no_longer_than_it_is_long_whoever_has_written_it(line: str) -> None:
    start = time.process_time()
    with pytest.raises(NotPlainError):
        linewise.read(f"{line}\n", Lines(PlainScalars()))
    assert time.process_time() - start < 2


@tried(1500)
@given(st.lists(_LINES, min_size=1, max_size=6))
def test_any_lines(lines: list[str]) -> None:
    is_read_alike("".join(lines))


@tried(1500)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 900),
            st.integers(0, 6),
            st.sampled_from(["", " ", "  ", "\n", "- ", ": ", "#", "a", ",", "[", "}", '"', "'"]),
        ),
        min_size=1,
        max_size=3,
    )
)
def test_a_damaged_manifest(damage: list[tuple[int, int, str]]) -> None:
    text = _PLAIN
    for place, cut, piece in damage:
        start = place % len(text)
        text = text[:start] + piece + text[start + cut :]
    is_read_alike(text.rstrip("\n") + "\n")
