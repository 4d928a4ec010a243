# SPDX-License-Identifier: Apache-2.0
"""The scale of workloads: the subresource that `kubectl scale` reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.lab.apiserver import cells, status
from podfence.lab.store.resources import Resource

if TYPE_CHECKING:
    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.store import Store


ROW = Resource("Scale", "scales", "autoscaling/v1")


def scale_of(row: Resource, obj: Raw) -> Raw:
    """Return the scale of a workload."""
    spec, known = obj["spec"], obj["metadata"]
    found = spec.get("selector")
    text = cells.labels(found) if row.kind == "ReplicationController" else cells.selector(found)
    meta = {key: known[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    state: Raw = {"replicas": (obj.get("status") or {}).get("replicas") or 0}
    if text != cells.NONE:
        state["selector"] = text
    replicas = spec.get("replicas")
    wanted = {"replicas": replicas} if replicas else {}
    return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": meta, "spec": wanted, "status": state}


def write(store: Store, row: Resource, namespace: str, scale: Raw, *, dry_run: bool) -> Raw:
    """Give a workload the replicas of a scale, and return its scale then. Raises RefusedError and StoreError."""
    name = scale["metadata"].get("name", "")
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise status.invalid_fields("autoscaling", "Scale", name, [("spec.replicas", message)])
    with store.lock:
        before = store.get(row.key, namespace, name)
        revision = scale["metadata"].get("resourceVersion")
        meta = {**before["metadata"], **({"resourceVersion": revision} if revision else {})}
        after = {**before, "metadata": meta, "spec": {**before["spec"], "replicas": replicas}}
        return scale_of(row, store.update(row.key, after, dry_run=dry_run))
