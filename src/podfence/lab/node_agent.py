# SPDX-License-Identifier: Apache-2.0
"""The agent of a lab's node: the same program as on a node of a cluster, with folders of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from podfence.agent.node import bridging, main
from podfence.agent.node.matching import Granted
from podfence.kube.access import address
from podfence.kube.access.access import Access as Way
from podfence.kube.access.access import Choice, Secret
from podfence.kube.live.resources import RESOURCES
from podfence.kube.registry import LEGACY_POLICY
from podfence.lab.agents import RESULTS, RUN, STATE
from podfence.lab.sandbox import version

if TYPE_CHECKING:
    from podfence.lab.agents import Order

_OLD: Final = RESOURCES["NetworkPolicy"]._replace(api_version=LEGACY_POLICY)


def run(order: Order) -> None:
    """Be the agent, in this process and network namespace, until SIGTERM comes. Raises PodfenceError."""
    folder, access = Path(order.folder), order.access
    main.run(
        main.Setup(
            node=order.node,
            choice=Choice(),
            version=version(),
            listen="127.0.0.1:9474",
            state=folder / STATE,
            run=folder / RUN,
            sysctls=bridging.SYSCTLS,
            results=folder / RESULTS,
            binding=order.binding,
            granted=Granted(),
            options=order.options,
            reject=False,
            boot=None,
            log_form="json",
            log_level="debug",
            policies=_OLD if order.options.legacy == "v1beta1" else RESOURCES["NetworkPolicy"],
        ),
        Way(
            server=address.parse(access.server),
            namespace="default",
            source="the lab",
            ca=access.authority.encode(),
            token=Secret(access.token),
        ),
    )
