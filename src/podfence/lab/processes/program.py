# SPDX-License-Identifier: Apache-2.0
"""What a container runs in a lab: a real program, or a stand-in that answers on the network as one would."""

from __future__ import annotations

from typing import Literal

import msgspec

Answers = Literal["page", "two ports", "redis", "echo"]
"""nginx's welcome page; the documents' application on 8000 and 5000; redis's PONG; a page or what was sent."""


class StandIn(msgspec.Struct, frozen=True):
    """A server without a program of its own: what it answers, and on which ports.

    With `every_port` connections to any port are led to these, and it answers as if it listened on that.
    """

    answers: Answers
    tcp: tuple[int, ...] = ()
    udp: tuple[int, ...] = ()
    every_port: bool = False


class Program(msgspec.Struct, frozen=True):
    """What to start: `argv`, or `stand_in` where there is no such program here.

    `image` is the folder of an unpacked image that is its root, or "" for the pod's own; `files` are written
    before it starts. `note` tells a person what it is. `stdin`, `stdin_once` and `tty` are those of the container.
    """

    note: str
    argv: tuple[str, ...] = ()
    stand_in: StandIn | None = None
    env: dict[str, str] = {}
    working_dir: str = "/"
    image: str = ""
    files: dict[str, str] = {}
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
