# SPDX-License-Identifier: Apache-2.0
"""Policies that differ and select no pod of the input, so that nobody can say what their change does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from podfence.analysis.effects import MeantPods
from podfence.kube.objects import NetworkPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.analysis.diff.answer import ObjectChange
    from podfence.policy.engine import Engine


def marked(found: Iterable[ObjectChange], *engines: Engine) -> tuple[ObjectChange, ...]:
    """Return changes of objects, with those of policies marked that select no pod on any side.

    Where the input is the whole cluster, such policies do nothing, and none is marked (semantics 13.1).
    """
    changes = tuple(found)
    names = {(item.namespace, item.name) for item in changes if item.kind == "NetworkPolicy" and item.change != "text"}
    if not names or all(engine.options.world == "closed" for engine in engines):
        return changes
    for engine in engines:
        spaces = {space for space, _ in names}
        pods = MeantPods(engine, spaces)
        for space in spaces:
            for policy in engine.policies(space):
                name = (space, policy.source.name)
                if name in names and isinstance(policy.source, NetworkPolicy) and pods.any_meant(policy.subject):
                    names.remove(name)
    return tuple(
        msgspec.structs.replace(item, selects_nothing=True)
        if item.kind == "NetworkPolicy" and (item.namespace, item.name) in names
        else item
        for item in changes
    )
