# SPDX-License-Identifier: Apache-2.0
"""Which cluster somebody asks for, and as whom: the flags that kubectl has too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """What somebody asked for on a command line; "" is what the kubeconfig says."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    user: str = ""
    namespace: str = ""
    impersonate: str = ""
    groups: tuple[str, ...] = ()
    uid: str = ""

    @property
    def names_entries(self) -> bool:
        """Whether anything was asked for that only a kubeconfig has."""
        return bool(self.context or self.cluster or self.user)
