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
    "podfence.analysis.diff.answer": ("Difference",),
    "podfence.api": ("Cluster", "diff", "load", "load_lab", "load_live"),
    "podfence.errors": ("EndpointError", "InputError", "MissingProgramError", "OptionError", "PodfenceError"),
    "podfence.policy.options": ("Options",),
    "podfence.policy.verdict": ("Decision", "Direction", "Reason", "Tier", "Verdict"),
}


def __getattr__(name: str) -> object:
    """Import the module that defines `name` and keep the value; raises AttributeError for other names."""
    for home, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            value: object = getattr(import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names that `__getattr__` would import along with those that are there."""
    return sorted({*globals(), *__all__})
