# SPDX-License-Identifier: Apache-2.0
"""Which container a request for a stream is for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.lab.apiserver.status import bad_request
from podfence.lab.apiserver.streams.pods import Place

if TYPE_CHECKING:
    from aiohttp import web

    from podfence.lab.store.store import Store


def place(store: Store, request: web.Request, namespace: str, name: str) -> Place:
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
    return Place(namespace, name, container or main[0])
