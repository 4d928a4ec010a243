# SPDX-License-Identifier: Apache-2.0
"""Talking to a running lab from outside it."""

from __future__ import annotations

import os
import select
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from podfence.lab import access, sandbox
from podfence.lab.access import Access
from podfence.lab.connection import Connection
from podfence.lab.errors import LabError
from podfence.lab.status import Lab, Labs

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from podfence.dataplane.settings import Binding
    from podfence.kube.objects import KubeObject
    from podfence.lab.addresses import PodNetworkKind
    from podfence.lab.manifests import Written
    from podfence.lab.processes.probing import Probe

Message = dict[str, Any]
"""What is said over a connection: JSON objects."""

Value = Any
"""What can be said as JSON."""


class Client:
    """One lab of this user, by name; every request is a connection of its own, and its end ends the request."""

    def __init__(self, name: str = sandbox.DEFAULT_NAME) -> None:
        self.name = name
        self._process: subprocess.Popen[bytes] | None = None

    def up(
        self,
        objects: Iterable[KubeObject] = (),
        *,
        nodes: int = 2,
        families: Sequence[int] = (4,),
        network: PodNetworkKind = "routed",
        binding: Binding = "enforce",
        settings: Sequence[str] = (),
        namespace: str = "default",
        progress: Callable[[str], None] | None = None,
    ) -> Message:
        """Start the lab with some objects in it, and return when it runs and its policies are in the kernel.

        `network` is how pods are connected to their nodes, `binding` what becomes of packets on a pod's link that are
        not that pod's. `settings` are engine options as ``OPTION=VALUE``. If this is interrupted, the lab ends. Raises
        LabError and MissingProgramError.
        """
        started = sandbox.start(self.name)
        try:
            reply = self._change(
                "up",
                objects,
                namespace,
                progress,
                fds=(started.ended,),
                name=self.name,
                nodes=nodes,
                families=list(families),
                network=network,
                binding=binding,
                settings=list(settings),
            )
        except BaseException as error:
            # Also for Ctrl-C: what is half up has no use.
            started.process.kill()
            started.process.wait()
            complaint = started.complaint()
            if isinstance(error, ConnectionClosedError) and complaint:
                raise LabError(f"the lab could not start: {complaint}") from error
            raise
        finally:
            started.close()
        self._process = started.process
        try:
            access.write(msgspec.convert(reply["access"], Access), self.name)
        except LabError as error:
            reply["access"] = None
            reply["notes"].append(f"kubectl cannot be used with this lab: {error}")
        return reply

    def apply(
        self,
        objects: Iterable[KubeObject],
        *,
        namespace: str = "default",
        progress: Callable[[str], None] | None = None,
    ) -> Message:
        """Create or change objects of manifests, and return when pods run and kernels enforce accordingly.

        The answer has kubectl's line for each object (`outcomes`), or why it was refused (`problems`), and `notes`.
        Raises LabError.
        """
        return self._change("apply", objects, namespace, progress)

    def _change(
        self,
        operation: str,
        objects: Iterable[KubeObject],
        namespace: str,
        progress: Callable[[str], None] | None,
        *,
        fds: Sequence[int] = (),
        **fields: Value,
    ) -> Message:
        """Write objects to the API server while the lab follows them one by one."""
        from podfence.lab import applying, manifests  # noqa: PLC0415 - most commands apply nothing
        from podfence.lab.rest import Rest  # noqa: PLC0415 - for the same reason

        batch = manifests.written(objects, namespace)
        numbers = manifests.files(batch)
        files = [{"name": source.name, "text": source.text} for source in numbers]
        with self.conversation(operation, fds=fds, files=files, **fields) as replies:
            told = replies.answer(progress)
            cluster = applying.Cluster(told["legacy"], told["blocks"], told["nodes"])

            def done(written: Written) -> None:
                replies.send({"place": manifests.place(written, numbers)})
                replies.answer(progress)

            with Rest(msgspec.convert(told["access"], Access), lambda _text: None) as server:
                applied = applying.apply(batch, server, cluster, done)
            replies.send({"done": True})
            replies.answer(progress)
        return {**applied._asdict(), "access": told["access"]}

    def request(
        self, operation: str, *, fds: Sequence[int] = (), progress: Callable[[Any], None] | None = None, **fields: Value
    ) -> Message:
        """Return the answer to a request; raise LabError if it is refused.

        `fds` are file descriptors that the lab gets copies of; `progress` is told what is going on.
        """
        with self.conversation(operation, fds=fds, **fields) as replies:
            return replies.answer(progress)

    @contextmanager
    def conversation(self, operation: str, *, fds: Sequence[int] = (), **fields: Value) -> Iterator[Replies]:
        """Give the answers to a request as they come; leaving it ends the request."""
        with sandbox.connect(self.name) as raw:
            connection = Connection(raw)
            connection.send({"op": operation, "version": sandbox.version(), **fields}, fds)
            yield Replies(connection)

    def execute(
        self,
        target: str,
        command: Sequence[str],
        fds: Sequence[int],
        *,
        namespace: str = "default",
        container: str | None = None,
        tty: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Run a command in a pod, a node (``node:NAME``) or outside, and return its exit code.

        `fds` become its standard input, output and error; with `tty` they are the same terminal, and it becomes
        the command's own.
        """
        reply = self.request(
            "exec",
            fds=fds,
            target=target,
            command=list(command),
            namespace=namespace,
            container=container,
            tty=tty,
            environment=dict(environment or {}),
        )
        return int(reply["exit"])

    def probe(self, target: str, probes: Sequence[Probe], *, namespace: str = "default") -> list[str]:
        """Try connections from a pod, a node (``node:NAME``) or outside, and return what became of each.

        That is "open", "refused" (it got there), "timeout" or "error: ..."; outside, a probe may come from any
        address that nobody in the lab has. See `podfence.lab.processes.probing.run`.
        """
        outcomes: list[str] = self.request("probe", target=target, probes=probes, namespace=namespace)["outcomes"]
        return outcomes

    def kubeconfig(self) -> Path:
        """Return the path of the lab's kubeconfig, which is written if it is not there. Raises LabError."""
        place, found = access.path(self.name), self.access()
        # What was written first stays: its namespace may have been changed.
        return place if place.exists() else access.write(found, self.name)

    def access(self) -> Access:
        """Return how the API server of the lab is reached."""
        return msgspec.convert(self.request("about")["access"], Access)

    def down(self) -> None:
        """End the lab, and return when nothing of it is left. Raises LabError if there is none."""
        with sandbox.connect(self.name) as raw:
            connection = Connection(raw, "the lab ended unexpectedly")
            connection.send({"op": "down", "version": sandbox.version()})
            _, fds = connection.answer()
        select.select(fds, [], [])
        for number in fds:
            os.close(number)
        if self._process is not None:
            self._process.wait()
        access.remove(self.name)


def running() -> Labs:
    """Return the labs of this user, and what is in them."""
    found = []
    names = sandbox.names()
    access.remove_ended(names)
    for name in names:
        try:
            about = Client(name).request("about")
            found.append(Lab(name=name, nodes=about["nodes"], pods=about["pods"], problem=""))
        except LabError as error:
            found.append(Lab(name=name, nodes=0, pods=0, problem=str(error)))
    return Labs(items=tuple(found))


class ConnectionClosedError(LabError):
    """The lab ended in the middle of a request."""


class Replies:
    """The answers to one request, until the lab closes the connection; a refusal is raised as LabError."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def answer(self, progress: Callable[[Any], None] | None = None) -> Message:
        """Return the next answer; `progress` is told what is said before that."""
        for reply in self:
            if "progress" not in reply:
                return reply
            if progress is not None:
                progress(reply["progress"])
        raise ConnectionClosedError("the lab ended before it answered; run `podfence lab up` to start another")

    def send(self, message: Message) -> None:
        """Say more. Raises ConnectionClosedError if the lab has ended."""
        try:
            self._connection.send(message)
        except OSError as error:
            raise ConnectionClosedError("the lab ended; run `podfence lab up` to start another") from error

    def __iter__(self) -> Iterator[Message]:
        while (received := self._connection.receive()) is not None:
            if "error" in received[0]:
                raise LabError(received[0]["error"])
            yield received[0]
