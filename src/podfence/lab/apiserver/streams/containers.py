# SPDX-License-Identifier: Apache-2.0
"""What streams need of whoever runs the pods, and which container of a pod a request is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from podfence.lab.apiserver.status import bad_request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from aiohttp import web

    from podfence.lab.processes.session import Session
    from podfence.lab.store.store import Store


class ContainerPlace(NamedTuple):
    """A container of a pod."""

    namespace: str
    pod: str
    container: str


class Containers(Protocol):
    """The containers that run. Its methods may be called from any thread."""

    def execute(self, place: ContainerPlace, command: Sequence[str], *, stdin: bool, tty: bool) -> Session:
        """Start a command in a container. Raises LabError if the pod does not run."""

    def attach(self, place: ContainerPlace, *, stdin: bool) -> Session:
        """Join the main process of a container. Raises LabError if it does not run."""

    def log(self, place: ContainerPlace, *, previous: bool) -> Path | None:
        """Return the file of a container's output since its last start, or before that; None if there is none."""

    def is_running(self, place: ContainerPlace) -> bool:
        """Return whether the main process of a container runs."""


def place(store: Store, request: web.Request, namespace: str, name: str) -> ContainerPlace:
    """Return the container of a pod that a request means; without a name, the only one.

    Raises NotFoundError for a pod, and RefusedError for a container, that does not exist.
    """
    spec = store.get("pods", namespace, name)["spec"]
    main = [item["name"] for item in spec.get("containers") or ()]
    early = [item["name"] for item in spec.get("initContainers") or ()]
    container = request.query.get("container", "")
    if not container and len(main) > 1:
        inits = f" or one of the init containers: [{' '.join(early)}]" if early else ""
        raise bad_request(
            f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]{inits}"
        )
    if container and container not in main + early:
        raise bad_request(f"container {container} is not valid for pod {name}")
    return ContainerPlace(namespace, name, container or main[0])
