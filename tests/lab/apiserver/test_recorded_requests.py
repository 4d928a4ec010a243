# SPDX-License-Identifier: Apache-2.0
"""Requests that were sent to a real API server get the answers that it gave.

The recordings are described in README.md beside this file.
"""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from podfence.lab.store.store import Store
from tests.lab.apiserver.serving import Client, Reply, served

HERE = Path(__file__).parent

# What the server answers otherwise, and why.
OTHER_CODE = {
    "create-rv": "a wrong request is no fault of the server: 400 and not 500",
    "put-rv-bad": "as create-rv",
    "watch-rv-bad": "as create-rv",
    "patch-strategic-bad": "as create-rv",
}
OTHER_ANSWER = {
    "path_": "the paths are those that a lab serves",
    "path_version": "the version says that it is podfence",
    "ssar": "the reason is the lab's",
    **dict.fromkeys(
        ("patch-merge-type", "patch-merge-strict"), "the patched object is quoted with its keys in another order"
    ),
}
NOT_REPLAYED = {
    **dict.fromkeys(
        ("watch-rv", "watch-bookmarks", "watch-field", "watch-table"),
        "what changed while they ran was not recorded; test_watches.py has the same",
    ),
    "watch-rv-future": "nothing comes",
    **dict.fromkeys(
        [f"patch-apply{end}" for end in ("", "-no-manager", "-other", "-nogvk", "-managed")],
        "labs have no server-side apply; test_applying_on_the_server_is_refused_with_a_sentence",
    ),
    "method-foo": "the HTTP library answers 400 to a method that it does not know",
}
# Requests that leave the same behind as those that a lab refuses.
_POLICIES = "/apis/networking.k8s.io/v1/namespaces/raw/networkpolicies"
INSTEAD = {
    "patch-apply-force": ("PATCH", f"{_POLICIES}/a", {"spec": {"podSelector": {"matchLabels": None}, "ingress": [{}]}}),
    "patch-apply-new": ("POST", _POLICIES, {"metadata": {"name": "ssa"}, "spec": {"podSelector": {}}}),
    "patch-apply-dup": ("POST", _POLICIES, {"metadata": {"name": "ssa2"}, "spec": {"ingress": [{}, {}]}}),
}


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


class Story:
    """Sends recorded requests one after the other; revisions and uids are those of this server."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.known: dict[str, str] = {}

    def send(self, row: dict[str, Any]) -> Reply | list[Any]:
        path = re.sub(r"(resourceVersion=|continue=)(\w+)", lambda found: found[1] + self._here(found[2]), row["path"])
        if isinstance(row["answer"], dict) and "stream" in row["answer"] and row["method"] == "GET":
            return self._watch(path, row)
        body = row["body"]
        if row["id"] == "create-too-big":
            body = b" " * 3_200_130
        elif isinstance(body, str):
            body = body.encode()
        elif body is not None:
            body = json.loads(re.sub(r'(?<=")([\w-]+)(?=")', lambda found: self._here(found[1]), json.dumps(body)))
        return self.client.send(row["method"], path, body, headers=row["headers"])

    def _here(self, text: str) -> str:
        return self.known.get(text, text)

    def _watch(self, path: str, row: dict[str, Any]) -> Reply | list[Any]:
        wanted = row["answer"]["stream"]
        if row["id"] == "get-name-watch":
            return [self.client.get(path)]
        with self.client.watch(path, row["headers"]["Accept"]) as events:
            return list(islice(events, len(wanted)))

    def learn(self, recorded: Any, found: Any) -> None:  # noqa: ANN401 - any JSON value
        """Remember which revisions, uids and tokens of the recording are which here."""
        if isinstance(recorded, dict) and isinstance(found, dict):
            for key, value in recorded.items():
                if key in ("resourceVersion", "uid", "continue") and isinstance(found.get(key), str):
                    self.known[value] = found[key]
                elif key in found:
                    self.learn(value, found[key])
        elif isinstance(recorded, list) and isinstance(found, list):
            for one, other in zip(recorded, found, strict=False):
                self.learn(one, other)


VARYING = ("resourceVersion", "uid", "creationTimestamp", "deletionTimestamp", "continue", "managedFields")


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return an answer without what is another on each run."""
    if isinstance(value, dict):
        return {
            key: "*" if key in VARYING else plain(item)
            for key, item in value.items()
            if key not in ("managedFields", "description")
        }
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str):
        value = re.sub(r"\b\d{4}-\d\d-\d\dT[\d:]+Z|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "*", value)
        value = re.sub(r'\\?"(resourceVersion|continue)\\?":\\?"\d+\\?"', "*", value)
        value = re.sub(r",\\?\"managedFields\\?\":\[.*?\]", "", value)
        value = re.sub(r"(record|current:|too old resource version: 1) \(?\d+\)?", r"\1 *", value)
        return re.sub(r"^(\d+[smh])+$|(?<=^g-)\w{5}$|127\.0\.0\.1:\d+|SERVER", "*", value)
    return value


def test_each_recorded_request_gets_the_recorded_answer() -> None:
    wrong: list[str] = []
    with served(Store(remembered=20)) as server:
        server.store.create("namespaces", {"metadata": {"name": "raw2"}})
        story = Story(server.client)
        for row in rows("http.jsonl"):
            if row["id"] in NOT_REPLAYED:
                continue
            if row["id"] in INSTEAD:
                method, path, body = INSTEAD[row["id"]]
                headers = {"Content-Type": "application/merge-patch+json"} if method == "PATCH" else {}
                wrong += differences(row, server.client.send(method, path, body, headers=headers), story)
                continue
            if row["id"] == "watch-bookmarks-no-rv":
                policy = {"metadata": {"name": "a"}, "spec": {"podSelector": {}}}
                server.client.send("POST", "/apis/networking.k8s.io/v1/namespaces/raw2/networkpolicies", policy)
            wrong += differences(row, story.send(row), story)
    assert not wrong, "\n".join(wrong)


def differences(row: dict[str, Any], reply: Reply | list[Any], story: Story) -> list[str]:
    recorded = row["answer"]
    if isinstance(reply, list):
        story.learn(recorded["stream"], reply)
        found, wanted = plain(reply), plain(recorded["stream"])
        return [] if masked(found) == masked(wanted) else [f"{row['id']}: {found} and not {wanted}"]
    story.learn(recorded, reply.body)
    wrong: list[str] = []
    if row["id"] in OTHER_CODE:
        recorded = {**recorded, "code": reply.code}
        assert (row["code"], reply.code) == (500, 400)
    elif reply.code != row["code"]:
        wrong.append(f"{row['id']}: code {reply.code} and not {row['code']}: {reply.body}")
    if reply.warnings != row.get("warnings", []):
        wrong.append(f"{row['id']}: warnings {reply.warnings}")
    if row["id"] in OTHER_ANSWER:
        return wrong
    if row["method"] != "HEAD":
        body = reply.body if isinstance(reply.body, dict) else {"text": reply.body}
        if row["type"].startswith("application/yaml"):
            body, recorded = yaml.safe_load(body["text"]), yaml.safe_load(recorded["text"])
        if masked(plain(body)) != masked(plain(recorded)):
            wrong.append(f"{row['id']}: {plain(body)}\n    and not {plain(recorded)}")
    return wrong


def masked(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return an answer without a bookmark's empty object, which Kubernetes sends and no client reads."""
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, dict) and value.get("type") == "BOOKMARK":
        inner = {key: item for key, item in value["object"].items() if key not in ("spec", "rows")}
        return {**value, "object": inner}
    return value


def test_applying_on_the_server_is_refused_with_a_sentence() -> None:
    with served() as server:
        headers = {"Content-Type": "application/apply-patch+yaml"}
        path = "/api/v1/namespaces/default/pods/p?fieldManager=kubectl"
        reply = server.client.send("PATCH", path, {"apiVersion": "v1", "kind": "Pod"}, headers=headers)
    assert reply.code == 415
    assert "leave out --server-side" in reply.body["message"]
