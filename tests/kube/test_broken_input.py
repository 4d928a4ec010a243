# SPDX-License-Identifier: Apache-2.0

"""What people get wrong in YAML and JSON, and exactly what they are told: place, message and remedy."""

from __future__ import annotations

import pytest

from podfence.kube.yaml import parse

_DEEP = 10_000
_CASES: list[tuple[str, str, list[str]]] = [
    (
        "tab-indent",
        "a:\n\tb: 1\n",
        ["2:1: error: found character that cannot start any token: a tab (indent with spaces)"],
    ),
    (
        "tab-after-spaces",
        "a:\n  b: 1\n \tc: 2\n",
        ["3:2: error: found a tab character that violates indentation (indent with spaces)"],
    ),
    (
        "tab-after-dash",
        "a:\n-\tb\n",
        ["2:2: error: found character that cannot start any token: a tab (indent with spaces)"],
    ),
    (
        "tab-in-block-text",
        "a: |\n\tb\n",
        ["2:1: error: found a tab character where an indentation space is expected (indent with spaces)"],
    ),
    (
        "tab-before-key",
        "\ta: 1\n",
        ["1:1: error: found character that cannot start any token: a tab (indent with spaces)"],
    ),
    (
        "tab-blank-line",
        "a: 1\n\t\nb: 2\n",
        ["2:1: error: found a tab character that violates indentation (indent with spaces)"],
    ),
    (
        "tab-in-list",
        "a:\n  - b\n\t- c\n",
        ["3:1: error: found a tab character that violates indentation (indent with spaces)"],
    ),
    (
        "value-with-colon",
        "a: b: c\n",
        [
            "1:5: error: mapping values are not allowed in this context (check the indentation, or quote the value that contains ': ')"
        ],
    ),
    (
        "image-with-colon-space",
        "image: nginx: latest\n",
        [
            "1:13: error: mapping values are not allowed in this context (check the indentation, or quote the value that contains ': ')"
        ],
    ),
    (
        "url-in-key",
        "a: b\n  c: d\n",
        [
            "2:4: error: mapping values are not allowed in this context (check the indentation, or quote the value that contains ': ')"
        ],
    ),
    (
        "key-without-space",
        "a: 1\nb:2\n",
        [
            "2:4: error: could not find expected ':', in the key on line 2 (write 'key: value', or indent a text that goes on over several lines)"
        ],
    ),
    (
        "key-without-space-first",
        "kind:Pod\nmetadata: x\n",
        [
            "2:9: error: mapping values are not allowed in this context (check the indentation, or quote the value that contains ': ')"
        ],
    ),
    (
        "missing-colon",
        "a: 1\nb\nc: 2\n",
        [
            "3:1: error: could not find expected ':', in the key on line 2 (write 'key: value', or indent a text that goes on over several lines)"
        ],
    ),
    (
        "last-line-without-colon",
        "a: 1\nb\n",
        [
            "2:2: error: could not find expected ':', in the key on line 2 (write 'key: value', or indent a text that goes on over several lines)"
        ],
    ),
    (
        "indented-too-far",
        "a: 1\n   b: 2\n",
        [
            "2:5: error: mapping values are not allowed in this context (check the indentation, or quote the value that contains ': ')"
        ],
    ),
    (
        "indented-too-little",
        "a:\n    b: 1\n  c: 2\n",
        ["3:3: error: did not find expected key, in the mapping that starts on line 1 (check the indentation)"],
    ),
    (
        "list-item-indented-differently",
        "a:\n  - b\n - c\n",
        ["3:2: error: did not find expected key, in the mapping that starts on line 1 (check the indentation)"],
    ),
    (
        "list-item-indented-deeper",
        "a:\n  - b: 1\n     c: 2\n",
        [
            "3:7: error: mapping values are not allowed in this context (check the indentation, or quote the value that contains ': ')"
        ],
    ),
    (
        "list-then-key",
        "- a\nb: 1\n",
        ["2:1: error: did not find expected '-' indicator, in the list that starts on line 1 (check the indentation)"],
    ),
    (
        "key-then-list",
        "a: 1\n- b\n",
        ["2:1: error: did not find expected key, in the mapping that starts on line 1 (check the indentation)"],
    ),
    (
        "list-on-key-line",
        "a: - b\n",
        ["1:4: error: block sequence entries are not allowed in this context (start the list on a line of its own)"],
    ),
    (
        "key-inside-list",
        "a:\n  - b\n  c: 1\n",
        ["3:3: error: did not find expected '-' indicator, in the list that starts on line 2 (check the indentation)"],
    ),
    (
        "dash-alone",
        "a: -\n",
        ["1:4: error: block sequence entries are not allowed in this context (start the list on a line of its own)"],
    ),
    (
        "open-list",
        "a: [1, 2\n",
        [
            "1:9: error: did not find expected ',' or ']', in the list that starts on line 1 (add the missing ',' or ']')"
        ],
    ),
    (
        "open-list-then-key",
        "a: [1, 2\nb: 3\n",
        [
            "2:2: error: did not find expected ',' or ']', in the list that starts on line 1 (add the missing ',' or ']')"
        ],
    ),
    (
        "open-mapping",
        "a: {b: 1\n",
        [
            "1:9: error: did not find expected ',' or '}', in the mapping that starts on line 1 (add the missing ',' or '}')"
        ],
    ),
    (
        "open-mapping-then-key",
        "a: {b: 1\nc: 2\n",
        [
            "2:2: error: did not find expected ',' or '}', in the mapping that starts on line 1 (add the missing ',' or '}')"
        ],
    ),
    (
        "open-list-in-mapping",
        "a: {b: [1}\n",
        ["1:10: error: did not find expected ',' or ']' (add the missing ',' or ']')"],
    ),
    ("closed-twice", "a: [1]]\n", ["1:7: error: did not find expected key (check the indentation)"]),
    ("brace-alone", "a: }\n", ["1:4: error: did not find expected node content (quote the value)"]),
    ("bracket-alone", "a: ]\n", ["1:4: error: did not find expected node content (quote the value)"]),
    ("comma-first", "a: [,1]\n", ["1:5: error: did not find expected node content (quote the value)"]),
    ("comma-twice", "a: [1,,2]\n", ["1:7: error: did not find expected node content (quote the value)"]),
    ("comma-starts-value", "a: ,b\n", ["1:4: error: did not find expected node content (quote the value)"]),
    ("empty-key-in-braces", "a: {: 1}\n", ["1:5: error: did not find expected node content (quote the value)"]),
    ("no-comma", "a: {b: 1 c: 2}\n", ["1:11: error: did not find expected ',' or '}' (add the missing ',' or '}')"]),
    ("no-comma-list", "a: ['b' 'c']\n", ["1:9: error: did not find expected ',' or ']' (add the missing ',' or ']')"]),
    (
        "no-comma-quoted",
        'a: {"b": 1 "c": 2}\n',
        ["1:15: error: did not find expected ',' or '}' (add the missing ',' or '}')"],
    ),
    (
        "template-braces",
        "a: {{ .Values.name }}\n",
        ["1:4: error: a mapping key must be a scalar, not a mapping (render the template first)"],
    ),
    (
        "template-line",
        "{{- if .Values.x }}\na: 1\n{{- end }}\n",
        ["1:3: error: did not find expected node content (render the template first)"],
    ),
    (
        "template-in-list",
        "a:\n  - {{ .Values.x }}\n",
        ["2:5: error: a mapping key must be a scalar, not a mapping (render the template first)"],
    ),
    (
        "template-include",
        'a:\n  {{- include "x" . | nindent 2 }}\n',
        ["2:5: error: did not find expected node content (render the template first)"],
    ),
    (
        "open-double-quote",
        'a: "b\n',
        ["1:6: error: found unexpected end of stream, in the quoted text that starts on line 1 (close the quote)"],
    ),
    (
        "open-single-quote",
        "a: 'b\nc: d\n",
        ["2:5: error: found unexpected end of stream, in the quoted text that starts on line 1 (close the quote)"],
    ),
    ("apostrophe-in-single-quotes", "a: 'it's'\n", ["1:8: error: did not find expected key (check the indentation)"]),
    ("text-after-quote", 'a: "b" c\n', ["1:8: error: did not find expected key (check the indentation)"]),
    (
        "quote-then-key",
        'a: "b"\n c: d\n',
        ["2:2: error: did not find expected key, in the mapping that starts on line 1 (check the indentation)"],
    ),
    (
        "open-quote-then-document",
        'a: "b\n---\nc: 1\n',
        ["1:6: error: found unexpected end of stream, in the quoted text that starts on line 1 (close the quote)"],
    ),
    (
        "escape-windows-path",
        'a: "C:\\path"\n',
        ["1:7: error: found unknown escape character (double the backslash, or use single quotes)"],
    ),
    ("escape-slash", 'a: "\\/b"\n', ["1:5: error: found unknown escape character (write / without the backslash)"]),
    (
        "escape-regex",
        'a: "\\d+"\n',
        ["1:5: error: found unknown escape character (double the backslash, or use single quotes)"],
    ),
    ("escape-hex", 'a: "\\xZZ"\n', ["1:7: error: did not find expected hexadecimal number"]),
    ("escape-surrogate", 'a: "\\ud83d"\n', ["1:7: error: found invalid Unicode character escape code"]),
    ("escape-too-large", 'a: "\\U00110000"\n', ["1:7: error: found invalid Unicode character escape code"]),
    (
        "escape-at-end",
        'a: "\\\n',
        ["1:6: error: found unexpected end of stream, in the quoted text that starts on line 1 (close the quote)"],
    ),
    ("at-sign", "a: @b\n", ["1:4: error: found character that cannot start any token: '@' (quote the value)"]),
    ("backtick", "a: `b`\n", ["1:4: error: found character that cannot start any token: '`' (quote the value)"]),
    ("percent", "a: %b\n", ["1:4: error: found character that cannot start any token: '%' (quote the value)"]),
    ("star", "a: *\n", ["1:5: error: did not find expected alphabetic or numeric character (quote the value)"]),
    (
        "star-glob",
        "a: *.example.org\n",
        ["1:5: error: did not find expected alphabetic or numeric character (quote the value)"],
    ),
    ("ampersand", "a: & b\n", ["1:5: error: did not find expected alphabetic or numeric character (quote the value)"]),
    ("bang-handle", "a: !x!y b\n", ["1:4: error: found undefined tag handle (take out the tag)"]),
    (
        "question-in-list",
        "a: [x?y]\n",
        ["1:6: error: found '?' in a text without quotes between brackets (quote the value)"],
    ),
    (
        "colon-colon",
        "a: ::\n",
        [
            "1:5: error: mapping values are not allowed in this context (check the indentation, or quote the value that contains ': ')"
        ],
    ),
    ("v6-in-list", "a: [::1]\n", ["1:5: error: did not find expected node content (quote the value)"]),
    ("star-key", "*a: 1\n", ["1:1: error: unknown anchor 'a' referenced"]),
    ("unknown-anchor", "a: *b\n", ["1:4: error: unknown anchor 'b' referenced"]),
    ("anchor-of-other-document", "a: &x 1\n---\nb: *x\n", ["3:4: error: unknown anchor 'x' referenced"]),
    ("self-reference", "a: &x [*x]\n", ["1:8: error: anchor 'x' value contains itself"]),
    ("self-reference-mapping", "a: &x\n  b: *x\n", ["2:6: error: anchor 'x' value contains itself"]),
    ("merge-of-text", "a:\n  <<: b\n", ["2:3: error: map merge requires map or sequence of maps as the value"]),
    ("merge-of-null", "a:\n  <<:\n", ["2:3: error: map merge requires map or sequence of maps as the value"]),
    (
        "merge-of-list-of-text",
        "a:\n  <<: [b]\n",
        ["2:3: error: map merge requires map or sequence of maps as the value"],
    ),
    (
        "merge-of-aliased-list",
        "x: &x [{a: 1}]\na:\n  <<: *x\n",
        ["3:7: error: map merge requires map or sequence of maps as the value"],
    ),
    ("null-key", "~: 1\n", ["1:1: error: a mapping key is null (put the key in quotes)"]),
    ("null-key-in-braces", "a: {null: 1}\n", ["1:5: error: a mapping key is null (put the key in quotes)"]),
    ("list-key", "a: {[b]: 1}\n", ["1:4: error: a mapping key must be a scalar, not a list (put the key in quotes)"]),
    (
        "mapping-key",
        "{a: 1}: b\n",
        ["1:1: error: a mapping key must be a scalar, not a mapping (put the key in quotes)"],
    ),
    (
        "question-list-key",
        "? - a\n: b\n",
        ["1:1: error: a mapping key must be a scalar, not a list (put the key in quotes)"],
    ),
    (
        "large-number-key",
        "18446744073709551615: a\n",
        ["1:1: error: the mapping key 18446744073709551615 is too large a number (put the key in quotes)"],
    ),
    ("infinity", "a: .inf\n", ["1:4: error: unsupported value: +Inf (quote the value)"]),
    ("minus-infinity", "a: -.INF\n", ["1:4: error: unsupported value: -Inf (quote the value)"]),
    ("not-a-number", "a: .nan\n", ["1:4: error: unsupported value: NaN (quote the value)"]),
    ("int-tag-on-text", "a: !!int x\n", ["1:4: error: cannot decode !!str `x` as a !!int"]),
    ("int-tag-on-float", "a: !!int 1.5\n", ["1:4: error: cannot decode !!float `1.5` as a !!int"]),
    ("float-tag-on-text", "a: !!float x\n", ["1:4: error: cannot decode !!str `x` as a !!float"]),
    ("bool-tag-on-text", "a: !!bool maybe\n", ["1:4: error: cannot decode !!str `maybe` as a !!bool"]),
    ("null-tag-on-text", "a: !!null x\n", ["1:4: error: cannot decode !!str `x` as a !!null"]),
    (
        "timestamp-tag-on-text",
        "a: !!timestamp 2024-13-01\n",
        ["1:4: error: cannot decode !!str `2024-13-01` as a !!timestamp"],
    ),
    ("binary-tag", "a: !!binary '???'\n", ["1:4: error: !!binary value contains invalid base64 data"]),
    ("tag-with-comma", "a: [!x,b]\n", ["1:5: error: a comma ends no tag between brackets (put a space after the tag)"]),
    (
        "yaml-directive",
        "%YAML 1.1\n---\na: 1\n",
        [
            "1:10: error: did not find expected <document start> (take out the % directive; kubectl reads YAML 1.1 without any)"
        ],
    ),
    (
        "tag-directive",
        "%TAG ! x\n---\na: 1\n",
        [
            "1:9: error: did not find expected <document start> (take out the % directive; kubectl reads YAML 1.1 without any)"
        ],
    ),
    (
        "unknown-directive",
        "%FOO\na: 1\n",
        ["1:5: error: found unknown directive name (quote the value, or take out the % directive)"],
    ),
    (
        "text-after-marker",
        "--- a: 1\n",
        [
            "1:1: error: invalid document separator: only a comment may follow --- on its line, not 'a: 1' (start the document on the next line)"
        ],
    ),
    (
        "four-dashes",
        "a: 1\n----\nb: 2\n",
        [
            "2:1: error: invalid document separator: only a comment may follow --- on its line, not '-' (start the document on the next line)"
        ],
    ),
    (
        "marker-in-quotes",
        'a: "x\n---\ny"\n',
        ["1:6: error: found unexpected end of stream, in the quoted text that starts on line 1 (close the quote)"],
    ),
    (
        "indented-marker",
        "a:\n  b: 1\n ---\nc: 2\n",
        ["3:2: error: did not find expected key, in the mapping that starts on line 1 (check the indentation)"],
    ),
    (
        "two-broken-documents",
        "a: [\n---\nb: }\n",
        [
            "1:5: error: did not find expected node content (close the bracket)",
            "3:4: error: did not find expected node content (quote the value)",
        ],
    ),
    ("nul", "a: b\x00c\n", ["1:5: error: control characters are not allowed: U+0000"]),
    ("bell", "a: b\x07c\n", ["1:5: error: control characters are not allowed: U+0007"]),
    ("escape-character", 'a: "\x1b[0m"\n', ["1:5: error: control characters are not allowed: U+001B"]),
    ("delete", "a: \x7f\n", ["1:4: error: control characters are not allowed: U+007F"]),
    ("c1-control", "a: b\x80c\n", ["1:5: error: control characters are not allowed: U+0080"]),
    ("control-in-second-document", "a: 1\n---\nb: \x01\n", ["3:4: error: control characters are not allowed: U+0001"]),
    ("noncharacter", "a: \uffff\n", ["1:4: error: control characters are not allowed: U+FFFF"]),
    (
        "line-separator",
        "a: b\u2028c: d\u2028e\n",
        [
            "1:12: error: could not find expected ':', in the key on line 1 (write 'key: value', or indent a text that goes on over several lines)"
        ],
    ),
    (
        "byte-order-mark-inside",
        "a: 1\n\ufeffb: 2\n",
        ["2:1: error: a byte order mark (U+FEFF) stands inside a document (take it out)"],
    ),
    (
        "block-text-not-indented",
        "a: |\nb\n",
        [
            "2:2: error: could not find expected ':', in the key on line 2 (write 'key: value', or indent a text that goes on over several lines)"
        ],
    ),
    ("block-text-indent-0", "a: |0\n b\n", ["1:5: error: found an indentation indicator equal to 0"]),
    ("block-text-junk", "a: | b\n", ["1:6: error: did not find expected comment or line break"]),
    (
        "block-text-first-line-blank",
        "a: |\n     \n  b\n",
        ["3:3: error: did not find expected key, in the mapping that starts on line 1 (check the indentation)"],
    ),
    ("json-open", '{"a": 1\n', ["2:1: error: expected ',' or '}', found the end of the input"]),
    ("json-no-comma", '{"a": 1\n "b": 2}\n', ["2:2: error: expected ',' or '}', found '\"'"]),
    ("json-no-colon", '{"a" 1}\n', ["1:6: error: expected ':' after a key, found '1'"]),
    ("json-single-bracket", '{"a": [1}\n', ["1:9: error: expected ',' or ']', found '}'"]),
    ("json-bad-escape", '{"a": "\\d"}\n', ["1:8: error: invalid \\escape"]),
    ("json-newline-in-text", '{"a": "b\nc", "d": \n', ["1:9: error: invalid control character"]),
    ("json-number-too-large", '{"a": 1e999}\n', ["1:7: error: the number 1e999 is out of range"]),
    (
        "json-garbage-after",
        '{"a": 1} x\n',
        ["1:10: error: expected a value, found 'x' (after an object there may be another one)"],
    ),
    (
        "json-third",
        '{"a":1}{"b":2}\nc: 3\n',
        ["2:1: error: expected a value, found 'c' (after an object there may be another one)"],
    ),
    (
        "json-then-broken-yaml",
        '{"a":1}\n---\nb: [\n',
        ["3:5: error: did not find expected node content (close the bracket)"],
    ),
    ("json-only-brace", "{\n", ["2:1: error: expected a key in double quotes, found the end of the input"]),
    ("json-infinity", '{"a": Infinity, "b": [}\n', ["1:7: error: expected a value, found 'I'"]),
    ("json-bad-unicode", '{"a": "\\u12"}\n', ["1:9: error: invalid \\uXXXX escape"]),
    (
        "too-deep",
        f"a: {'[' * _DEEP}{']' * _DEEP}\n",
        ["1:10003: error: nested deeper than 10000 levels"],
    ),
    (
        "long-key",
        f"{'k' * 1100}: 1\n",
        [
            "1:1101: error: mapping values are not allowed in this context (check the indentation, or quote the value that contains ': ')"
        ],
    ),
    (
        "aliases-explode",
        "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{name}: &{name} [{','.join(['*' + chr(ord(name) - 1)] * 10)}]\n" for name in "bcdef"),
        ["4:14: error: document contains excessive aliasing"],
    ),
]


@pytest.mark.parametrize(
    ("text", "messages"), [pytest.param(text, messages, id=name) for name, text, messages in _CASES]
)
def test_what_is_wrong_is_said_with_place_and_remedy(text: str, messages: list[str]) -> None:
    assert [str(problem) for problem in parse(text.encode(), "f")[1]] == [f"f:{message}" for message in messages]


_DUPLICATES: list[tuple[str, str, list[str]]] = [
    ("twice", "port: 1\nport: 2\n", ['1:1: warning: key "port" is given twice; the last one, line 2, counts']),
    ("in-braces", "a: {b: 1,\n b: 2}\n", ['1:5: warning: key "b" is given twice; the last one, line 2, counts']),
    ("three-times", "a: 1\na: 2\na: 3\n", ['1:1: warning: key "a" is given 3 times; the last one, line 3, counts']),
    ("json", '{"a": 1,\n"a": 2}', ['1:2: warning: key "a" is given twice; the last one, line 2, counts']),
    ("json-hard", '{"a": 1,\n"a": "\\ud800"}', ['1:2: warning: key "a" is given twice; the last one, line 2, counts']),
    (
        "different-spelling",
        "yes: 1\ntrue: 2\n",
        ['1:1: warning: key "true" is given twice; the last one, line 2, counts'],
    ),
    ("quoted-and-not", "1: a\n'1': b\n", ['1:1: warning: key "1" is given twice; the last one, line 2, counts']),
    ("alias", "&k a: 1\n*k : 2\n", ['1:1: warning: key "a" is given twice; the last one, line 2, counts']),
    (
        "two-mappings-in-order",
        "a:\n  x: 1\n  x: 2\nb: 1\nb: 2\n",
        [
            '2:3: warning: key "x" is given twice; the last one, line 3, counts',
            '4:1: warning: key "b" is given twice; the last one, line 5, counts',
        ],
    ),
    (
        "second-document",
        "a: 1\n---\nb: 1\nb: 2\n",
        ['3:1: warning: key "b" is given twice; the last one, line 4, counts'],
    ),
    ("merged-is-not-twice", "x: &m {a: 1}\nw:\n  a: 2\n  <<: *m\n", []),
    ("two-merges-are-not-twice", "x: &m {a: 1}\nw:\n  <<: *m\n  <<: *m\n", []),
    (
        "twice-beside-a-merge",
        "x: &m {a: 1}\nw:\n  b: 1\n  <<: *m\n  b: 2\n",
        ['3:3: warning: key "b" is given twice; the last one, line 5, counts'],
    ),
    ("same-key-elsewhere", "a: {b: 1}\nc: {b: 1}\nb: 1\n", []),
]


@pytest.mark.parametrize(
    ("text", "messages"), [pytest.param(text, messages, id=name) for name, text, messages in _DUPLICATES]
)
def test_a_key_given_twice_is_a_warning_naming_both_lines(text: str, messages: list[str]) -> None:
    documents, problems = parse(text.encode(), "f")
    assert [str(problem) for problem in problems] == [f"f:{message}" for message in messages]
    assert documents


def test_the_table_is_as_long_as_promised() -> None:
    assert len({text for _, text, _ in _CASES}) >= 90
