# SPDX-License-Identifier: Apache-2.0
"""What the measurements make in the cluster: a namespace, pods that do nothing, and policies."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.kubernetes.places import Node
from bench.kubernetes.server import Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from bench.kubernetes.server import Json
    from tests.kubernetes.harness import Bed

SPACE: Final = "podfence-bench"
POLICIES: Final = f"/apis/networking.k8s.io/v1/namespaces/{SPACE}/networkpolicies"
PODS: Final = f"/api/v1/namespaces/{SPACE}/pods"

_PATH: Final = f"/api/v1/namespaces/{SPACE}"
_PATIENCE: Final = 60.0
_GONE_WITHIN: Final = 300.0
_EVERY: Final = 0.1


class Place(NamedTuple):
    """A pod: its address and its network namespace."""

    address: str
    network: Path


class Town:
    """The namespace of the measurements on a bed; a context manager that takes it away again."""

    def __init__(self, bed: Bed) -> None:
        """Make nothing yet. Raises PodfenceError and OSError if the API server cannot be reached."""
        self.bed = bed
        settings = dict(word.split("=", 1) for word in (bed.work / "conf/settings").read_text(encoding="utf-8").split())
        self._control_plane = Path("/run/netns", settings["PODFENCE_BED_NAME"])
        self.server = self.connect()
        self.nodes = [Node(bed, number) for number in bed.nodes][:2]
        self.places: dict[str, Place] = {}

    def connect(self) -> Server:
        """Return one more way to the API server."""
        return Server(self.bed.kubeconfig, self._control_plane)

    def __enter__(self) -> Self:
        """Make the namespace and its pods, and wait until they have addresses."""
        self.remove()
        self.server.do("POST", "/api/v1/namespaces", {"metadata": {"name": SPACE}})
        self.wait_for(
            lambda: self.server.request("GET", f"/api/v1/namespaces/{SPACE}/serviceaccounts/default").status == 200
        )
        one, other = self.nodes[0], self.nodes[-1]
        for name, node in (("client", one), ("near", one), ("far", other)):
            self.server.do("POST", PODS, pod(name, node.name, {"app": name}))
        for name, node in (("client", one), ("near", one), ("far", other)):
            address = self.address(name)
            self.places[name] = Place(address, node.pod(address))
        return self

    def __exit__(self, *_: object) -> None:
        """Have the namespace taken away; the cluster may need its time for that."""
        self.server.request("DELETE", _PATH)

    def remove(self) -> None:
        """Delete the namespace, if it is there, and wait until it is gone."""
        self.server.request("DELETE", _PATH)
        self.wait_for(lambda: self.server.request("GET", _PATH).status == 404, _GONE_WITHIN)

    def address(self, name: str) -> str:
        """Wait until a pod runs; return its address."""
        found: list[str] = []

        def runs() -> bool:
            status = self.server.do("GET", f"{PODS}/{name}").content["status"]
            found[:] = [status.get("podIP", "")]
            return bool(found[0]) and status["phase"] == "Running"

        self.wait_for(runs)
        return found[0]

    @staticmethod
    def wait_for(done: Callable[[], bool], patience: float = _PATIENCE) -> None:
        """Wait until something is so; raises TimeoutError if it does not come."""
        end = time.monotonic() + patience
        while not done():
            if time.monotonic() > end:
                message = f"the cluster did not follow within {patience:.0f} s"
                raise TimeoutError(message)
            time.sleep(_EVERY)


def pod(name: str, node: str, labels: dict[str, str]) -> Json:
    """Return a pod that only waits."""
    container = {"name": "c", "image": "pause:1", "imagePullPolicy": "IfNotPresent"}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "nodeName": node,
            "terminationGracePeriodSeconds": 0,
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "containers": [container],
        },
    }


def denial(name: str, app: str) -> Json:
    """Return a policy that lets nobody connect to the pods of an application."""
    return {
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"], "ingress": []},
    }
