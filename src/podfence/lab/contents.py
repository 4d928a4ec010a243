# SPDX-License-Identifier: Apache-2.0
"""The objects of a running lab on their way to a command that answers questions about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from podfence.kube.live.origin import LIVE
from podfence.kube.objects import KubeObject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.cluster.state import ClusterState
    from podfence.policy.options import Options

_TYPES: Final = {kind.__name__: kind for kind in get_args(KubeObject)}


def contents(state: ClusterState, options: Options) -> dict[str, Any]:
    """Return the objects of a lab and its options as JSON values; what was only made up is left out."""
    found: list[KubeObject] = [item for name, item in state.namespaces.items() if name not in state.implied]
    for table in (state.nodes, state.workloads, state.pods, state.services, state.slices, state.endpoints):
        found += table.values()
    found += [policy for policies in state.policies.values() for policy in policies.values()]
    return {
        "objects": [
            (type(item).__name__, msgspec.to_builtins(msgspec.structs.replace(item, origin=None))) for item in found
        ],
        "options": msgspec.structs.asdict(options),
    }


def objects(message: Mapping[str, Any]) -> list[KubeObject]:
    """Return the objects of such values; reasons name them, for they have no file and line."""
    return [
        msgspec.structs.replace(msgspec.convert(value, _TYPES[kind]), origin=LIVE) for kind, value in message["objects"]
    ]


def settings(message: Mapping[str, Any]) -> list[str]:
    """Return the options of such values as ``OPTION=VALUE``."""
    return [f"{name}={value}" for name, value in message["options"].items()]
