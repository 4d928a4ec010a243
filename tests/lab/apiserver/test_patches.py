# SPDX-License-Identifier: Apache-2.0
"""Patches of all kinds: one row each."""

from __future__ import annotations

from typing import Any

import pytest

from podfence.lab.apiserver.fields import kind_type
from podfence.lab.apiserver.patches import json_patched, merged
from podfence.lab.apiserver.strategic import applied
from podfence.lab.store.errors import RefusedError

POD = kind_type("", "Pod")


def pod(*names: str, **more: object) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": name, "image": name} for name in names], **more}}


@pytest.mark.parametrize(
    ("patch", "wanted"),
    [
        # An item of a list that has a merge key is changed in its place, or added.
        ({"containers": [{"name": "b", "image": "new"}]}, [("a", "a"), ("b", "new"), ("c", "c")]),
        # What is new comes before all that the patch does not name.
        ({"containers": [{"name": "d", "image": "d"}]}, [("d", "d"), ("a", "a"), ("b", "b"), ("c", "c")]),
        ({"containers": [{"name": "b", "$patch": "delete"}]}, [("a", "a"), ("c", "c")]),
        ({"containers": [{"name": "z", "$patch": "delete"}]}, [("a", "a"), ("b", "b"), ("c", "c")]),
        ({"containers": [{"name": "x", "image": "x"}, {"$patch": "replace"}]}, [("x", "x")]),
        (
            {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}]},
            [("c", "c"), ("a", "a"), ("b", "b")],
        ),
        (
            {
                "$setElementOrder/containers": [{"name": "d"}, {"name": "a"}],
                "containers": [{"name": "d", "image": "d"}, {"name": "b", "$patch": "delete"}],
            },
            [("d", "d"), ("a", "a"), ("c", "c")],
        ),
        ({"containers": None}, None),
    ],
)
def test_a_strategic_patch_merges_lists_by_their_key(
    patch: dict[str, Any], wanted: list[tuple[str, str]] | None
) -> None:
    found = applied(pod("a", "b", "c"), {"spec": patch}, POD)["spec"].get("containers")
    assert found == (None if wanted is None else [{"name": name, "image": image} for name, image in wanted])


@pytest.mark.parametrize(
    ("before", "patch", "wanted"),
    [
        # A list without a merge key is replaced.
        ({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}, {"tolerations": [{"key": "b"}]}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"b": "2"}}, {"nodeSelector": {"a": "1", "b": "2"}}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"$patch": "replace", "b": "2"}}, {"nodeSelector": {"b": "2"}}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"$patch": "delete"}}, {}),
        ({"nodeSelector": {"a": "1"}}, {"nodeSelector": {"a": None}}, {"nodeSelector": {}}),
        ({"volumes": [{"name": "v", "emptyDir": {}}]}, {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}]}, {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
        ({"hostname": "a", "subdomain": "b"}, {"$retainKeys": ["subdomain"]}, {"subdomain": "b"}),
        ({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}, {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}, {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}]}),
        ({"containers": [{"name": "a", "ports": [{"containerPort": 1}]}]}, {"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "n"}]}]}, {"containers": [{"name": "a", "ports": [{"containerPort": 1, "name": "n"}]}]}),
    ],
)  # fmt: skip
def test_a_strategic_patch_follows_the_types(
    before: dict[str, Any], patch: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert applied({"spec": before}, {"spec": patch}, POD)["spec"] == wanted


def test_values_are_taken_out_of_a_list_of_values() -> None:
    before = {"metadata": {"finalizers": ["a/a", "b/b"]}}
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"], "finalizers": ["c/c"]}}
    assert applied(before, patch, POD)["metadata"]["finalizers"] == ["c/c", "b/b"]


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"containers": [{"image": "no name"}]}},
        {"spec": {"containers": ["text"]}},
        {"spec": {"$patch": "nonsense"}},
        {"spec": {"$retainKeys": "text"}},
    ],
)
def test_a_wrong_strategic_patch_is_refused(patch: dict[str, Any]) -> None:
    with pytest.raises(RefusedError):
        applied(pod("a"), patch, POD)


def test_nothing_that_was_given_is_changed_in_place() -> None:
    before = pod("a")
    applied(before, {"spec": {"containers": [{"name": "a", "image": "new"}]}}, POD)
    merged(before, {"spec": {"containers": []}})
    json_patched(before, [{"op": "replace", "path": "/spec/containers/0/image", "value": "new"}])
    assert before == pod("a")


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([{"op": "add", "path": "/a/-", "value": 4}], {"a": [1, 2, 3, 4]}),
        ([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2, 3]}),
        ([{"op": "add", "path": "/a/3", "value": 4}], {"a": [1, 2, 3, 4]}),
        (
            [{"op": "add", "path": "/b", "value": {}}, {"op": "add", "path": "/b/c", "value": 1}],
            {"a": [1, 2, 3], "b": {"c": 1}},
        ),
        ([{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9, 3]}),
        ([{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
        ([{"op": "remove", "path": "/a"}], {}),
        ([{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
        ([{"op": "copy", "from": "/a/0", "path": "/b"}], {"a": [1, 2, 3], "b": 1}),
        ([{"op": "test", "path": "/a/0", "value": 1}], {"a": [1, 2, 3]}),
        ([{"op": "test", "path": "/nope", "value": None}], {"a": [1, 2, 3]}),
        ([{"op": "add", "path": "/x~1y~0z", "value": 1}], {"a": [1, 2, 3], "x/y~z": 1}),
        ([{"op": "replace", "path": "", "value": {"whole": 1}}], {"whole": 1}),
    ],
)
def test_a_json_patch_does_its_steps(steps: list[dict[str, Any]], wanted: dict[str, Any]) -> None:
    assert json_patched({"a": [1, 2, 3]}, steps) == wanted


@pytest.mark.parametrize(
    "step",
    [
        {"op": "add", "path": "/a/5", "value": 1},
        {"op": "add", "path": "/nope/x", "value": 1},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/a/x", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "remove", "path": "/nope"},
        {"op": "remove", "path": ""},
        {"op": "remove", "path": "/a/3"},
        {"op": "test", "path": "/a/0", "value": 2},
        {"op": "frob", "path": "/a"},
        {"op": "move", "path": "/b"},
        {"op": "copy", "from": "/nope/a", "path": "/b"},
        {"path": "/a"},
        {"op": "add", "path": 1, "value": 1},
        {"op": "replace", "path": "/a/0/x", "value": 1},
    ],
)
def test_a_json_patch_that_cannot_be_done_is_refused(step: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as refusal:
        json_patched({"a": [1, 2, 3]}, [step])
    assert refusal.value.code == 422


@pytest.mark.parametrize("patch", [{}, 1, None, [1]])
def test_a_json_patch_is_a_list_of_steps(patch: object) -> None:
    with pytest.raises(RefusedError) as refusal:
        json_patched({}, patch)
    assert refusal.value.code == 400


def test_a_merge_patch_replaces_lists_and_removes_what_is_null() -> None:
    before = {"a": {"b": 1, "c": 2}, "list": [1, 2]}
    assert merged(before, {"a": {"b": None, "d": {"e": None}}, "list": [3]}) == {"a": {"c": 2, "d": {}}, "list": [3]}
