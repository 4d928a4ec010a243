# SPDX-License-Identifier: Apache-2.0
"""What `kubectl apply` does with manifests, by requests to the API server of a lab.

The manifest that was applied last is an annotation of the object. What was in that and is not any more goes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.cluster.ownership import top_of
from podfence.kube.findings import Finding
from podfence.kube.objects import Key, NetworkPolicy, Node, Pod, Workload
from podfence.kube.registry import KINDS, LEGACY_POLICY
from podfence.lab import rest
from podfence.lab.apiserver.fields import kind_type
from podfence.lab.apiserver.strategic import merging_of
from podfence.lab.objects.limits import ANY_NODE, limits
from podfence.lab.objects.service_addresses import without_foreign
from podfence.lab.store.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.lab.apiserver.fields import Type
    from podfence.lab.apiserver.strategic import Merging
    from podfence.lab.manifests import Written
    from podfence.lab.rest import Rest
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.resources import Resource

_LAST: Final = "kubectl.kubernetes.io/last-applied-configuration"
# A dump has them, and no other cluster's say is of use here.
_OF_A_SERVER: Final = (
    *("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"),
    *("managedFields", "selfLink"),
)
_NEW_MEANING: Final = (
    "it is stored as networking.k8s.io/v1 and means what it means there; "
    "`podfence lab up --set legacy=v1beta1` starts a lab where policies have their old meaning"
)
_IMMUTABLE: Final = "field is immutable"
_FIXED: Final = re.compile(rf"{_IMMUTABLE}|updates|may not change|can not be modified")
_UNREAD: Final = re.compile(r'into Go struct field \w+\.([\w.]+) of type|unknown field "([^"]+)"')
_UNKNOWN: Final = {True: {"fieldValidation": "Ignore"}, False: {"fieldValidation": "Strict"}}
"""What the server is to do with unknown fields, by whether reading has told of them, with their lines."""
_OLD_POLICIES: Final = "networkpolicies.extensions"
_SELECTED: Final = ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "ReplicationController")


class Cluster(NamedTuple):
    """What manifests are adapted to: the option `legacy` of a lab, its blocks of Service addresses, and its nodes.

    `nodes` are the labels of each.
    """

    legacy: str
    blocks: Sequence[str]
    nodes: Mapping[str, Mapping[str, str]]


class Applied(NamedTuple):
    """What became of objects: a line of kubectl each, unless the server refused it; and what else to know of them."""

    outcomes: list[str]
    problems: list[str]
    notes: list[str]


def apply(batch: Sequence[Written], server: Rest, cluster: Cluster, done: Callable[[Written], None]) -> Applied:
    """Create or change objects, and return what became of them.

    `done` is called after each that the server has taken. Raises LabError if the server does not answer.
    """
    workloads = {each.item.key: each.item for each in batch if isinstance(each.item, Workload)}
    namespaces: set[str] = set()
    results = [Applied([], [], []) for _ in batch]
    # Namespaces first, wherever they stand: the others are in them.
    for written, result in sorted(zip(batch, results, strict=True), key=lambda pair: pair[0].row.kind != "Namespace"):
        notes: list[str] = []
        named = rest.printed(written.row, written.name)
        try:
            if not written.name:
                message = f"from {written.value['metadata'].get('generateName')}: cannot use generate name with apply"
                result.problems.append(_problem(written, "metadata.generateName", message, "give it a name"))
            elif maker := _maker(written, workloads, server):
                notes.append(maker)
                result.outcomes.append(f"{named} ignored")
            else:
                result.outcomes.append(f"{named} {_put(written, server, cluster, namespaces, notes)}")
                done(written)
        except rest.RefusedError as error:
            result.problems.append(_placed(error, written))
        result.notes.extend(f"{named}: {text}" for text in notes)
    return Applied(*([text for result in results for text in result[field]] for field in range(len(Applied._fields))))


def _maker(written: Written, workloads: Mapping[Key, Workload], server: Rest) -> str:
    """Return what makes an object that need not be applied, as of a dump or a node; "" if nothing does."""
    item = written.item
    if isinstance(item, Node):
        return "the nodes of the lab are its own"
    if not isinstance(item, Pod | Workload) or item.owner is None:
        return ""
    top = top_of(item.owner, item.namespace, workloads, item.template.labels)
    kind = KINDS.get(top.kind)
    if kind is None or top == item.key:
        return ""
    there = rest.path(RESOURCES[kind.printed(plural=True)], top.namespace, top.name)
    return f"created by {kind.printed()}/{top.name}" if top in workloads or server.find(there) else ""


def _put(written: Written, server: Rest, cluster: Cluster, namespaces: set[str], notes: list[str]) -> str:
    """Create or change an object, and return kubectl's word for that. Raises RefusedError."""
    row = written.row
    if cluster.legacy == "v1beta1" and _is_old(written):
        row = RESOURCES[_OLD_POLICIES]
    _make_up(written.namespace, server, namespaces, notes)
    new = _noted(_adapted(_wanted(written, row), written, cluster, notes))
    asked = _UNKNOWN[row.kind in KINDS]
    live = server.find(rest.path(row, written.namespace, written.name))
    if live is None:
        during = f'error when creating "{written.file}": '
        stored = server.send("POST", rest.path(row, written.namespace, query=asked), new, during=during)
        notes += limits(stored, cluster.nodes)
        return "created"
    stored = server.send(
        "PATCH",
        rest.path(row, written.namespace, written.name, asked),
        _patch(_last(live), new, live, kind_type(row.group, row.kind)),
        content=rest.STRATEGIC,
        during=f'error when applying patch for "{written.file}": ',
    )
    notes += limits(stored, cluster.nodes)
    if "deletionTimestamp" in live["metadata"]:
        notes.append("it is being deleted, so what is applied goes with it")
    return "unchanged" if _without_note(stored) == _without_note(live) else "configured"


def _is_old(written: Written) -> bool:
    return isinstance(written.item, NetworkPolicy) and written.item.api_version == LEGACY_POLICY


def _make_up(name: str, server: Rest, namespaces: set[str], notes: list[str]) -> None:
    """Create a namespace that is only mentioned; `namespaces` are those that are known to be there."""
    row = RESOURCES["namespaces"]
    if name and name not in namespaces and server.find(rest.path(row, "", name)) is None:
        server.send("POST", rest.path(row, ""), {"metadata": {"name": name}})
        notes.append(f"namespace {name} does not exist; the lab creates it with the label that every namespace has")
    namespaces.add(name)


def _placed(error: rest.RefusedError, written: Written) -> str:
    """Return what a manifest may not say, with its line; other refusals in kubectl's words."""
    status = error.status
    if status.get("reason") not in ("Invalid", "BadRequest"):
        return str(error)
    causes = (status.get("details") or {}).get("causes") or [status]
    return "\n".join(_problem(written, cause.get("field") or "", cause["message"]) for cause in causes)


def _problem(written: Written, field: str, message: str, remedy: str = "") -> str:
    # The value is all of a template, and stands in the manifest.
    shown = _IMMUTABLE if message.endswith(_IMMUTABLE) else message
    if _FIXED.search(message):
        remedy = "delete it first, or use podfence lab delete -f and apply again"
    unread = _UNREAD.search(message)
    position = written.origin.at(*_path(unread[1] or unread[2] if unread else field))
    return str(Finding(position=position, message=f"{field}: {shown}" if field else shown, remedy=remedy))


def _path(field: str) -> tuple[str | int, ...]:
    return tuple(int(step) if step.isdecimal() else step for step in re.findall(r"[^.\[\]]+", field))


# From a manifest to the object that a lab can have


def _wanted(written: Written, row: Resource) -> Raw:
    """Return the object that a manifest stands for, in the version of a resource."""
    given = written.value["metadata"]
    metadata = {name: item for name, item in given.items() if name not in _OF_A_SERVER and item is not None}
    for field in ("labels", "annotations"):
        if field in metadata:
            metadata[field] = {name: text or "" for name, text in metadata[field].items() if name != _LAST}
    if written.namespace:
        metadata["namespace"] = written.namespace
    kept = {name: item for name, item in written.value.items() if name != "status"}
    return {**kept, "apiVersion": row.api_version, "kind": row.kind, "metadata": metadata}


def _adapted(new: Raw, written: Written, cluster: Cluster, notes: list[str]) -> Raw:
    """Return an object as the lab can have it; `notes` get what had to change, and what the lab does not do."""
    kind = new["kind"]
    # Of kinds of which the lab reads no spec nobody has looked at its type.
    spec = spec if isinstance(spec := new.get("spec"), dict) else {}
    if kind == "Pod" and spec.get("nodeName") and spec["nodeName"] not in cluster.nodes:
        notes.append(ANY_NODE.format(spec["nodeName"]))
        spec = {key: value for key, value in spec.items() if key != "nodeName"}
    elif kind == "Service":
        spec, said = without_foreign(spec, cluster.blocks)
        notes += said
    elif _is_old(written) and cluster.legacy == "auto":
        notes.append(_NEW_MEANING)
    elif kind in _SELECTED and not spec.get("selector") and (labels := _labels_of_template(spec)):
        # Old versions of the API had the labels of the template as the default.
        spec = {**spec, "selector": labels if kind == "ReplicationController" else {"matchLabels": labels}}
    return {**new, "spec": spec} if spec else new


def _labels_of_template(spec: Raw) -> Raw:
    labels: Raw = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    return labels


# From what was applied before and what is wanted to a patch


def _noted(obj: Raw) -> Raw:
    text = msgspec.json.encode(obj, order="deterministic").decode() + "\n"
    known = obj["metadata"]
    return {**obj, "metadata": {**known, "annotations": {**(known.get("annotations") or {}), _LAST: text}}}


def _last(live: Raw) -> Raw:
    """Return the manifest that was applied last to an object, {} if nobody has noted one."""
    text = (live["metadata"].get("annotations") or {}).get(_LAST)
    try:
        last: Any = msgspec.json.decode(text) if text else {}
    except msgspec.DecodeError:
        last = {}
    return last if isinstance(last, dict) else {}


def _without_note(obj: Raw) -> Raw:
    known = {key: item for key, item in obj["metadata"].items() if key != "resourceVersion"}
    known["annotations"] = {key: text for key, text in (known.get("annotations") or {}).items() if key != _LAST}
    return {**obj, "metadata": known}


def _patch(last: object, new: Raw, live: object, of: Type | None) -> Raw:
    """Return the strategic merge patch by which a live object, to which `last` was applied, says what `new` does."""
    before, there = (value if isinstance(value, dict) else {} for value in (last, live))
    patch: Raw = {key: None for key in before if key not in new}
    for key, value in new.items():
        place = merging_of(of, key)
        if isinstance(value, dict):
            patch[key] = _patch(before.get(key), value, there.get(key), place.type)
        elif isinstance(value, list) and place.merge is not None:
            patch |= _patched_list(key, value, _items(before.get(key)), _items(there.get(key)), place)
        else:
            patch[key] = value
    return patch


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _patched_list(field: str, new: list[Any], last: list[Any], live: list[Any], place: Merging) -> Raw:
    """Return the patch of a list whose items have a key, or are values; items that others have added stay."""
    key = place.merge
    if not key:
        return {f"$deleteFromPrimitiveList/{field}": [item for item in last if item not in new], field: new}
    there = {item.get(key): item for item in live if isinstance(item, dict)}
    names = [item.get(key) if isinstance(item, dict) else None for item in new]
    if None in names or len({*names}) < len(names) or len(there) < len(live):
        # Ports of a Service of two protocols have one number, and with it one key.
        return {field: [*new, {"$patch": "replace"}]}
    before = {item.get(key): item for item in last if isinstance(item, dict)}
    held = place.type.held if place.type is not None else None
    made = [_patch(before.get(name), item, there.get(name), held) for name, item in zip(names, new, strict=True)]
    return {field: made + [{key: name, "$patch": "delete"} for name in before if name not in names]}
