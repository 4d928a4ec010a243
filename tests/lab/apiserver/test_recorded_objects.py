# SPDX-License-Identifier: Apache-2.0
"""Objects that were given to a real API server are stored as there, or refused in the same words.

The recordings are described in README.md beside this file, and in tests/data/apiserver/README.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from podfence.kube.yaml import parse
from podfence.lab.apiserver.admission import complete
from podfence.lab.apiserver.bodies import read
from podfence.lab.apiserver.objects import Answer, Objects
from podfence.lab.apiserver.options import WriteOptions
from podfence.lab.apiserver.paths import Target
from podfence.lab.store.errors import RefusedError
from podfence.lab.store.resources import RESOURCES, Resource
from podfence.lab.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "data" / "apiserver"
STRICT = WriteOptions(dry_run=False, validation="Strict", force=False)

# What a lab answers otherwise, or cannot know.
OTHERWISE = {
    "svc-ip-outside": "the Service address range is the server's",
    "svc-ip": "the same; test_requests.py has one of its own range",
    "svc-ip-both": "the same",
    "svc-nodeport-range": "the node port range is the server's",
    "port-num-int64-over": "kubectl writes the number without an exponent",
    "np-uid": "the other uid was not recorded; test_recorded_requests.py has the same",
}
# Kubernetes names these at random, and shows a random one of several causes first.
RANDOM = re.compile(r"labels|matchLabels|name-generate")
# What Kubernetes' admission adds and a lab leaves to its controllers, or to nobody.
ADDED = ("kube-api-access", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "nodePort")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def manifests() -> Iterator[tuple[dict[str, Any], dict[str, Any], Resource]]:
    """Give the rows that kubectl sends to the server: the row, the object, and its resource."""
    for row in rows(DATA / "validation.jsonl"):
        text = re.sub(r"\{\{(\d+) times (.)\}\}", lambda match: match[2] * int(match[1]), row["manifest"])
        documents, _ = parse(text.encode(), "row.yaml")
        values = [document.value for document in documents]
        if len(values) != 1 or not isinstance(values[0], dict) or row["id"] in OTHERWISE:
            continue
        value: dict[str, Any] = values[0]
        if not isinstance(value.get("kind"), str):
            continue
        for resource in RESOURCES.values():
            named = (value["kind"], value.get("apiVersion"))
            if named == (resource.kind, resource.api_version) and not resource.stored_as:
                yield row, value, resource


MANIFESTS = list(manifests())


@pytest.fixture(scope="module")
def objects() -> Objects:
    complete(store := Store())
    for name in ("default", "demo"):
        store.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return Objects(store)


def sent(value: dict[str, Any]) -> bytes:
    # kubectl sorts the keys.
    return json.dumps(value, sort_keys=True).encode()


def answered(act: Callable[[], Answer]) -> Answer | RefusedError:
    try:
        return act()
    except RefusedError as refusal:
        return refusal


def test_most_recorded_manifests_are_tried() -> None:
    assert len(MANIFESTS) > 500


@pytest.mark.parametrize(("row", "value", "resource"), [pytest.param(*case, id=case[0]["id"]) for case in MANIFESTS])
def test_a_recorded_manifest_gets_the_recorded_answer(
    objects: Objects, row: dict[str, Any], value: dict[str, Any], resource: Resource
) -> None:
    metadata = value.get("metadata")
    given = metadata.get("namespace") if isinstance(metadata, dict) else None
    namespace = (given if isinstance(given, str) and given else "default") if resource.namespaced else ""
    options = STRICT._replace(dry_run=True)
    told: list[str] = []
    body = sent(value)
    answer = answered(lambda: objects.create(resource, namespace, read(body, "", resource), options, told.append))
    if row["accepted"]:
        assert isinstance(answer, Answer), answer
        assert told == row.get("warnings", [])
        assert plain(answer.body) == plain(row["stored"])
    elif "causes" in row:
        assert isinstance(answer, RefusedError)
        assert answer.details is not None
        causes = [f"{cause['field']}: {cause['message']}" for cause in answer.details["causes"]]
        if RANDOM.search(" ".join(row["causes"])) or RANDOM.search(row["id"]):
            assert sorted(map(unnamed, causes)) == sorted(map(unnamed, row["causes"]))
        else:
            assert causes == row["causes"]
    else:
        assert isinstance(answer, RefusedError)
        # kubectl looks at metadata itself, and asks no server then.
        message = str(answer).replace("NetworkPolicy.metadata", "metadataOnlyObject.metadata")
        by_kubectl = row["message"].startswith("error: unable to decode")
        assert (message.partition("cannot be handled as a NetworkPolicy: ")[2] if by_kubectl else message) in row[
            "message"
        ]


def unnamed(text: str) -> str:
    return re.sub(r"(?<=metadata\.name: Invalid value: ).*?(?=: )", "NAME", text)


def plain(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return an object without what is another on each run, and without what admission adds to it."""
    if isinstance(value, dict):
        return {
            key: plain(item)
            for key, item in value.items()
            if key not in ("uid", "resourceVersion", "creationTimestamp", "managedFields", *ADDED)
            and not (key == "name" and "generateName" in value)
            and not (key in ("volumes", "volumeMounts") and all(map(is_of_admission, item)))
        }
    if isinstance(value, list):
        return [plain(item) for item in value if not is_of_admission(item)]
    return value


def is_of_admission(item: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(item, dict) and str(item.get("name", "")).startswith("kube-api-access-")


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row["id"]) for row in rows(HERE / "updates.jsonl") if row["id"] not in OTHERWISE]
)
def test_a_recorded_update_gets_the_recorded_answer(row: dict[str, Any]) -> None:
    complete(store := Store())
    kind = row["old"]["kind"]
    (resource,) = [one for one in RESOURCES.values() if (one.kind, one.api_version) == (kind, row["old"]["apiVersion"])]
    namespace = row["old"]["metadata"].get("namespace", "")
    if namespace:
        store.create("namespaces", {"metadata": {"name": namespace}})
    before = store.create(resource.key, row["old"])
    if "status" in row["old"] and resource.has_status:
        before = store.update(resource.key, {**before, "status": row["old"]["status"]}, status=True)
    name = row["old"]["metadata"]["name"]
    objects = Objects(store)
    told: list[str] = []
    new = sent(row["new"])
    answer = answered(
        lambda: objects.update(Target(resource, namespace, name), read(new, "", resource), STRICT, told.append)
    )
    if row["http_code"] == 200:
        assert isinstance(answer, Answer), answer
        assert plain(answer.body) == plain(row["stored"])
        assert [f'299 - "{text}"' for text in told] == [text.replace('\\"', '"') for text in row.get("warnings") or ()]
        old, new = row["generation"]
        if old is not None:
            grown = answer.body["metadata"]["generation"] - before["metadata"]["generation"]
            assert grown == new - old
    else:
        assert isinstance(answer, RefusedError), answer
        assert answer.code == row["http_code"]
        # Kubernetes adds its internal form of the pod, as a difference.
        assert unidentified(str(answer)) == unidentified(row["status"]["message"].partition("\n@@")[0])
        assert answer.reason == row["status"]["reason"]


def unidentified(text: str) -> str:
    text = re.sub(r"Key: /(registry/)?", "Key: ", text)
    return re.sub(r"(?<=UID in object meta: )[\w-]+", "UID", text)
