# SPDX-License-Identifier: Apache-2.0
"""What can be asked of a lab: each operation takes a request and yields its answers, the last of them the result."""

from __future__ import annotations

import os
import select
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec

from podfence.kube.positions import Source
from podfence.lab import targets
from podfence.lab.addresses import Plan
from podfence.lab.contents import contents
from podfence.lab.errors import LabError
from podfence.lab.lines import follow
from podfence.lab.manifests import Place
from podfence.lab.processes.probing import Probe
from podfence.lab.supervisor import Supervisor
from podfence.lab.survey import survey
from podfence.policy.options import Options

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Iterator, Mapping

    from podfence.lab.connection import Connection
    from podfence.lab.journal import Journal
    from podfence.lab.objects.world import World

Message = dict[str, Any]

_PATIENCE: Final = 60.0
"""Seconds that a lab waits for the next object of a client that changes it."""

BEAT: Final = 0.2
"""Seconds after which it is looked whether the other side is still there."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, its fields, the file descriptors that came along, and its connection."""

    operation: str
    fields: Message
    fds: list[int]
    connection: Connection

    @property
    def is_dropped(self) -> bool:
        """Whether the one who asked has gone."""
        # Not select(): in a lab of many pods, files have numbers that are too high for that.
        waiter = select.poll()
        waiter.register(self.connection, select.POLLIN)
        return bool(waiter.poll(0))

    def tell(self, text: str) -> None:
        """Say what takes a while."""
        self.connection.send({"progress": text})


def begin(request: Request, journal: Journal, api: socket.socket) -> Generator[Message, None, Supervisor]:
    """Start the lab, with the first objects in it and its API server on a socket, and return it.

    The file that comes along becomes readable when the last process of the lab has ended.
    """
    fields = request.fields
    if request.operation != "up":
        raise LabError("the lab is still starting")
    plan = Plan(tuple(fields["families"]), fields["network"])
    nodes = fields["nodes"]
    request.tell(f"starting {nodes} nodes" if nodes > 1 else "starting a node")
    options = Options.parse(fields["settings"])
    lab = Supervisor(fields["name"], plan, nodes, options, fields["binding"], journal, api)
    lab.last_breath = os.dup(request.fds[0])
    yield from apply(lab, request)
    return lab


def apply(lab: Supervisor, request: Request) -> Iterator[Message]:
    """Give the lab to a client that writes objects to its API server, and answer when everything is as they say.

    The client gets what it has to know, and says after each object where that is written. The controllers do one after
    the other what follows, so that the same manifests always give the same pods, and the pods start together.
    """
    lab.change(partial(_follow, lab, request), request.tell)
    yield {}


def _follow(lab: Supervisor, request: Request, world: World) -> None:
    connection = request.connection
    files = [Source(**file) for file in request.fields["files"]]
    connection.send(
        {
            "access": msgspec.to_builtins(lab.access),
            "legacy": lab.options.legacy,
            "blocks": [lab.plan.service_range(family) for family in lab.plan.families],
            "nodes": {name: node.labels for name, node in lab.state.nodes.items()},
        }
    )
    # Nothing else changes meanwhile, so a client that has stopped cannot keep the lab.
    connection.socket.settimeout(_PATIENCE)
    while True:
        received = connection.receive()
        if received is None:
            raise LabError("the client has gone")
        if "place" not in received[0]:
            return
        place = msgspec.convert(received[0]["place"], Place | None)
        if place is not None:
            world.came_from(place.key, place.origin(files))
        world.follow()
        connection.send({})


def settle(lab: Supervisor, request: Request) -> Iterator[Message]:
    """Answer when all that the store holds by now is so: pods run, and kernels enforce."""
    lab.change(lambda _: None, request.tell)
    yield {}


def about(lab: Supervisor, _request: Request) -> Iterator[Message]:
    """Tell how much is in the lab, how kubectl reaches it, and how it reads manifests."""
    yield {
        "nodes": len(lab.nodes),
        "pods": len(lab.pods.running),
        "access": msgspec.to_builtins(lab.access),
        "legacy": lab.options.legacy,
        "lax": lab.options.validation == "lax",
    }


def objects(lab: Supervisor, _request: Request) -> Iterator[Message]:
    """Tell the objects of the lab, and the options that its agents enforce them with."""
    yield contents(lab.state, lab.options)


def status(lab: Supervisor, _request: Request) -> Iterator[Message]:
    """Tell what is in the lab."""
    yield msgspec.to_builtins(survey(lab))


def execute(lab: Supervisor, request: Request) -> Iterator[Message]:
    """Run a command somewhere in the lab with the file descriptors that came along."""
    fields = request.fields
    fds = request.fds * 3 if fields["tty"] else request.fds
    if len(fds) != 3:
        raise LabError("a command needs three file descriptors, or one terminal")
    holder = lab.holder(targets.find(lab.state, fields["target"], fields["namespace"]))
    execution = holder.execute(
        fields["command"], fds, tty=fields["tty"], env=fields["environment"], container=fields["container"]
    )
    with execution:
        # Whoever asks and goes away, by Ctrl-C for example, takes the command along.
        yield {"exit": execution.wait(request.connection)}


def logs(lab: Supervisor, request: Request) -> Iterator[Message]:
    """Tell the lines of the lab's journal or of a pod's output, and new ones as they come if asked.

    `since` is the time of the first (nanoseconds since 1970), and `tail` how many there may be before new ones come.
    """
    fields = request.fields
    if fields["target"] is None:
        source = lab.journal.follow(BEAT)
    else:
        pod = targets.find(lab.state, fields["target"], fields["namespace"])
        if pod.kind != "Pod":
            raise LabError("nodes and outside have no log; `podfence lab logs` prints what the agents report")
        source = follow(lab.pods.log(pod, fields["container"], previous=fields["previous"]), BEAT)
    old = [line for line in next(source) if line.time >= fields["since"]]
    yield {"lines": old if fields["tail"] is None else old[max(0, len(old) - fields["tail"]) :]}
    while fields["follow"] and not request.is_dropped:
        if lines := next(source):
            yield {"lines": lines}


def probe(lab: Supervisor, request: Request) -> Iterator[Message]:
    """Try connections from somewhere in the lab."""
    fields = request.fields
    try:
        probes = msgspec.convert(fields["probes"], list[Probe])
    except msgspec.ValidationError as error:
        raise LabError(f"invalid probes: {error}") from error
    holder = lab.holder(targets.find(lab.state, fields["target"], fields["namespace"]))
    yield {"outcomes": holder.probe(probes)}


def verify(lab: Supervisor, request: Request) -> Iterator[Message]:
    """Compare packets with the engine."""
    from podfence.lab.verification import compare  # noqa: PLC0415 - a lab starts sooner without it

    latest: deque[tuple[float, int]] = deque(maxlen=1)
    all_pairs = request.fields["all_pairs"]
    with ThreadPoolExecutor(1) as worker:
        answer = worker.submit(compare.verify_lab, lab, all_pairs=all_pairs, progress=lambda *at: latest.append(at))
        while wait((answer,), BEAT).not_done:
            if latest:
                yield {"progress": latest[-1]}
    yield msgspec.to_builtins(answer.result())


def load(lab: Supervisor, request: Request) -> Iterator[Message]:
    """Unpack an image archive, and start the containers of its images anew."""
    if len(request.fds) != 1:
        raise LabError("an image archive is sent as one open file")
    yield {"images": lab.load_images(request.fds[0], request.fields["file"])}


def down(lab: Supervisor, request: Request) -> NoReturn:
    """End the lab; the answer comes with a file that becomes readable when its last process has ended."""
    request.connection.send({"down": True}, [lab.last_breath])
    end_lab()


def end_lab() -> NoReturn:
    """End this process; the kernel ends the rest with the first process of the lab, which waits for this one."""
    os._exit(0)


OPERATIONS: Final[Mapping[str, Callable[[Supervisor, Request], Iterator[Message]]]] = {
    "apply": apply,
    "settle": settle,
    "about": about,
    "objects": objects,
    "status": status,
    "exec": execute,
    "logs": logs,
    "probe": probe,
    "verify": verify,
    "load": load,
    "down": down,
}
"""The operations by the name that requests have for them."""
