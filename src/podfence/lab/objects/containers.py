# SPDX-License-Identifier: Apache-2.0
"""What a node is told to run: containers, and pods of them with everything filled in."""

from __future__ import annotations

from typing import Literal

import msgspec

from podfence.kube.objects import ContainerPort, Key

Restart = Literal["Always", "OnFailure", "Never"]


class Container(msgspec.Struct, frozen=True):
    """A container to run; `command` and `args` are empty where the image's own are meant.

    References to environment variables (``$(NAME)``) are replaced already. `env` holds plain values only.
    """

    name: str
    image: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    ports: tuple[ContainerPort, ...] = ()
    working_dir: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False


class PodSpec(msgspec.Struct, frozen=True):
    """A pod to start on a node: its containers and what its network and resolver look like.

    `addresses` are texts, one per family; those of a hostNetwork pod are its node's. `dns_server` is ""
    where the pod has no resolver, `dns_options` are as in resolv.conf (``ndots:5``). `uid` tells the pod from others
    of the same name.
    """

    namespace: str
    name: str
    hostname: str
    node: str
    addresses: tuple[str, ...]
    host_network: bool
    containers: tuple[Container, ...]
    restart: Restart = "Always"
    dns_search: tuple[str, ...] = ()
    dns_server: str = ""
    dns_options: tuple[str, ...] = ()
    uid: str = ""

    @property
    def key(self) -> Key:
        """Return the name of the pod inside its cluster."""
        return Key("Pod", self.namespace, self.name)
