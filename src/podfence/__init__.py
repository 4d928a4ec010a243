# SPDX-License-Identifier: Apache-2.0
"""podfence: an exact Kubernetes NetworkPolicy engine.

    import podfence

    cluster = podfence.load("manifests/")
    verdict = cluster.check("shop/web", "shop/db", 5432)
    print(verdict.allowed, verdict.reason)
    for connection in cluster.connectivity():
        print(connection.sources, "->", connection.destinations, connection.ports)

The names below are imported when they are first used, so that a command which needs none of them
(help, version, completion) starts without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podfence.analysis.diff.answer import Difference
    from podfence.api import Cluster, diff, load, load_lab, load_live
    from podfence.errors import EndpointError, InputError, MissingProgramError, OptionError, PodfenceError
    from podfence.policy.options import Options
    from podfence.policy.verdict import Decision, Direction, Reason, Tier, Verdict

__all__ = [
    "Cluster",
    "Decision",
    "Difference",
    "Direction",
    "EndpointError",
    "InputError",
    "MissingProgramError",
    "OptionError",
    "Options",
    "PodfenceError",
    "Reason",
    "Tier",
    "Verdict",
    "diff",
    "load",
    "load_lab",
    "load_live",
]

_HOMES = {
    "Cluster": "podfence.api",
    "Difference": "podfence.analysis.diff.answer",
    "diff": "podfence.api",
    "load": "podfence.api",
    "load_lab": "podfence.api",
    "load_live": "podfence.api",
    "EndpointError": "podfence.errors",
    "InputError": "podfence.errors",
    "MissingProgramError": "podfence.errors",
    "OptionError": "podfence.errors",
    "PodfenceError": "podfence.errors",
    "Options": "podfence.policy.options",
    "Decision": "podfence.policy.verdict",
    "Direction": "podfence.policy.verdict",
    "Reason": "podfence.policy.verdict",
    "Tier": "podfence.policy.verdict",
    "Verdict": "podfence.policy.verdict",
}


def __getattr__(name: str) -> object:
    """Import the module that defines `name` and keep the value; raises AttributeError for other names."""
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib import import_module

    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names that `__getattr__` would import along with those that are there."""
    return sorted({*globals(), *__all__})
