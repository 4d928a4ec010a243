# SPDX-License-Identifier: Apache-2.0
"""JSON values written as YAML."""

from __future__ import annotations

import pytest
import yaml as reader
from hypothesis import example, given
from hypothesis import strategies as st

from podfence.report import yaml_text
from tests.twin.effort import tried

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@tried(500)
@given(VALUES)
@example({"a": [], "b": {}, "c": [[1, [2]], {"d": None}], "": ""})
@example(["yes", "No", "~", "1e3", "0o14", "12:30", "a: b", "a #b", "- a", "*a", "\x85\u2028\ufeff", "a\tb", "=", "<<"])
def test_what_is_written_is_read_back_the_same(value: object) -> None:
    assert reader.safe_load("\n".join(yaml_text.lines(value))) == value


@pytest.mark.parametrize(
    "text", ["shop/deploy/web", "kube-system", "TCP", "lab/*", "all ports", "a/b, c/d", "podfence/v1"]
)
def test_a_name_is_written_as_it_is(text: str) -> None:
    assert yaml_text.scalar(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1e3",
        "0x10",
        "0o7",
        "1_000",
        "y",
        "N",
        "on",
        "Off",
        "yes",
        "null",
        "~",
        "true",
        ".inf",
        "12:30:45",
        "2001-12-14",
        "10.0.0.0/8",
        "::/0",
        "=",
        "<<",
        "- a",
        "a: b",
        "a #b",
        "&a",
        "*a",
        "!a",
        "%a",
        "@a",
        "`a",
        " a",
        "a ",
    ],
)
def test_a_text_that_some_reader_takes_for_something_else_is_quoted(text: str) -> None:
    assert yaml_text.scalar(text) == f'"{text}"'


def test_the_form_is_that_of_kubectl() -> None:
    value = {"a": [{"b": 1, "c": ["d"]}, {"e": {"f": []}}], "g": None}

    assert "\n".join(yaml_text.lines(value)) == "a:\n- b: 1\n  c:\n  - d\n- e:\n    f: []\ng: null"
