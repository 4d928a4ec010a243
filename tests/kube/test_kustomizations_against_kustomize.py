# SPDX-License-Identifier: Apache-2.0
"""What is read of a tree of kustomizations, against what kustomize renders of it.

An answer about the files as they are written is the answer about what runs, or it says that it is incomplete.
"""

from __future__ import annotations

import json
import os
import shutil
from itertools import product
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import podfence

if TYPE_CHECKING:
    from podfence import Cluster

BUILT = Path.home() / ".cache/podfence-bed/bin"
KUBECTL = shutil.which("kubectl") or shutil.which("kubectl", path=BUILT)
LONG = bool(os.environ.get("PODFENCE_LONG"))
PAIRS = ({"app": "a"}, {"app": "b"}, {"tier": "a"})
SPACES = ("x", "y", "")

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="kubectl, which renders kustomizations, is not there")


def labels(random: Random) -> dict[str, str]:
    return {key: random.choice("ab") for key in ("app", "tier") if random.random() < 0.5}


def metadata(random: Random, name: str, own: dict[str, str] | None = None) -> dict[str, Any]:
    space = random.choice(SPACES)
    return {"name": name, **({"namespace": space} if space else {}), **({"labels": own} if own else {})}


def pod(random: Random, name: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]}
    own = labels(random)
    if random.random() < 0.5:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata(random, name, own), "spec": spec}
    template = {"metadata": {"labels": {**own, "set": name}}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(random, name),
        "spec": {"selector": {"matchLabels": {"set": name}}, "template": template},
    }


def policy(random: Random, name: str) -> dict[str, Any]:
    peers: list[dict[str, Any]] = [{"podSelector": {"matchLabels": labels(random)}}]
    if random.random() < 0.5:
        peers[0]["namespaceSelector"] = {"matchLabels": labels(random)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(random, name),
        "spec": {"podSelector": {"matchLabels": labels(random)}, "ingress": [{"from": peers}]},
    }


def service(random: Random, name: str) -> dict[str, Any]:
    selector = {"app": random.choice("ab")}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(random, name),
        "spec": {"selector": selector, "ports": [{"port": 80}]},
    }


def namespace(name: str, own: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": own}}


def changes(random: Random) -> dict[str, Any]:
    """Return what a kustomization does to its objects; most do nothing, as in real trees."""
    what: dict[str, Any] = {}
    if random.random() < 0.25:
        what["namespace"] = random.choice("xyz")
    if random.random() < 0.2:
        what["commonLabels"] = random.choice(PAIRS)
    if random.random() < 0.3:
        reach = random.choice(({}, {"includeSelectors": True}, {"includeTemplates": True}))
        what["labels"] = [{"pairs": random.choice(PAIRS), **reach}]
    if random.random() < 0.2:
        what["namePrefix"] = "pre-"
    return what


def write(top: Path, random: Random) -> tuple[list[str], list[str]]:
    """Write a tree of a kustomization and its bases, which has every file; return the names of pods and Services."""
    pods = [f"p{number}" for number in range(random.randint(2, 4))]
    services = [f"s{number}" for number in range(random.randint(0, 1))]
    objects = [pod(random, name) for name in pods] + [service(random, name) for name in services]
    objects += [policy(random, f"n{number}") for number in range(random.randint(1, 3))]
    objects += [namespace(name, labels(random)) for name in "xy" if random.random() < 0.5]
    bases = [f"base{number}" for number in range(random.randint(1, 2))]
    inside: dict[str, list[str]] = {base: [] for base in ["", *bases]}
    for number, item in enumerate(objects):
        base = random.choice(list(inside))
        (top / base).mkdir(exist_ok=True)
        (top / base / f"o{number}.json").write_text(json.dumps(item))
        inside[base].append(f"o{number}.json")
    for base in bases:
        if inside[base]:
            kustomization = {"resources": inside[base], **changes(random)}
            (top / base / "kustomization.yaml").write_text(json.dumps(kustomization))
    resources = inside[""] + [base for base in bases if inside[base]]
    (top / "kustomization.yaml").write_text(json.dumps({"resources": resources, **changes(random)}))
    return pods, services


def rendered_names(cluster: Cluster) -> dict[str, str]:
    """Return what pods and Services are called, by their names without what kustomize puts before them."""
    keys = [*(item.workload or item.key for item in cluster.state.members.values()), *cluster.state.services]
    return {
        key.name.removeprefix("pre-").removeprefix("pre-"): f"{key.namespace}/"
        + {"Deployment": "deploy/", "Service": "svc/"}.get(key.kind, "")
        + key.name
        for key in keys
    }


# These were answered wrongly once: a Service, a Pod or a Namespace gets labels, or another name.
ONCE_WRONG = (81, 157, 187, 251, 285, 1881)


@pytest.mark.parametrize("seed", range(400) if LONG else ONCE_WRONG)
def test_a_firm_answer_about_files_is_the_answer_about_what_kustomize_renders(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(str(KUBECTL)).parent}:{os.environ['PATH']}")
    random = Random(seed)  # a seed names a tree
    pods, services = write(tmp_path, random)
    try:
        runs = podfence.load(kustomize=str(tmp_path))
    except podfence.InputError as error:
        if "already registered id" in str(error) or "conflict" in str(error):
            pytest.skip("kustomize does not render this tree")
        raise

    files = podfence.load(tmp_path, recursive=True)

    written, rendered = rendered_names(files), rendered_names(runs)
    for source, destination in product(pods, [*pods, *services]):
        if source == destination or files.gaps_between(written[source], written[destination]):
            continue
        said = files.check(written[source], written[destination], 80).allowed
        assert said == runs.check(rendered[source], rendered[destination], 80).allowed, (source, destination)
