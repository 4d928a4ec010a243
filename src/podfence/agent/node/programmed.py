# SPDX-License-Identifier: Apache-2.0
"""How much the kernel of a node has been given."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podfence.dataplane.enforcer import Enforcer


class Programmed:
    """How many pods, policies and groups the kernel of a node has."""

    def __init__(self, enforcer: Enforcer | None) -> None:
        """Count now; safe in any thread, because what the loop's thread changes is copied at once."""
        self.pods = self.policies = self.groups = 0
        if enforcer is not None:
            compiler = enforcer.compiler
            groups = tuple(compiler.program.groups)
            owners = {compiler.owner(address) for address in tuple(compiler.program.known)}
            self.pods = len(owners - {None})
            self.policies = len({policy for key in groups for policy in key.policies})
            self.groups = len(groups)
