# SPDX-License-Identifier: Apache-2.0
"""What a container prints arrives whole and in order, however it ends and however late its client reads.

The other side of a session is here, in the test, so that the order of what happens is certain.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from podfence.lab.apiserver.application import Server
from podfence.lab.apiserver.streams import channels
from podfence.lab.apiserver.streams.answering import Streams
from podfence.lab.connection import Connection
from podfence.lab.errors import LabError
from podfence.lab.processes.holder import Execution
from podfence.lab.processes.session import Session
from podfence.lab.store.store import Store
from tests.lab.apiserver.serving import TOKEN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from pathlib import Path

    from podfence.lab.apiserver.streams.containers import ContainerPlace

EXEC = "/api/v1/namespaces/shop/pods/p/exec?command=c&stdin=true&stdout=true&stderr=true"
ATTACH = "/api/v1/namespaces/shop/pods/p/attach?stdin=true&stdout=true&stderr=true"
AN_HOUR = 3600.0


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time can be put forward."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


class Command:
    """The inner side of a session: what it prints and how it ends is said by the test."""

    def __init__(self) -> None:
        here, there = socket.socketpair()
        self.stdin, stdin = os.pipe()
        pipes = {name: os.pipe() for name in channels.OUTPUTS}
        self.outputs = {name: inside for name, (_, inside) in pipes.items()}
        self._reply = Connection(there)
        outside = {name: out for name, (out, _) in pipes.items()}
        self.session = Session(Execution(here, "shop_p ended before it answered"), stdin, outside, tty=False)

    def print(self, data: bytes, stream: str = "stdout") -> None:
        os.write(self.outputs[stream], data)

    def tell(self, **message: int | str) -> None:
        self._reply.send(message)

    def close(self) -> None:
        self._reply.close()
        for number in self.outputs.values():
            os.close(number)
        self.outputs.clear()

    def end(self, code: int) -> None:
        """End as a pod's init says it: the exit code when everything is printed, and then the end of the files."""
        self.tell(exit=code)
        self.close()


class Pods:
    """Runs the command of a test, when `may_begin` is set."""

    def __init__(self, command: Command, failure: str = "") -> None:
        self.command = command
        self.failure = failure
        self.is_asked = threading.Event()
        self.may_begin = threading.Event()
        self.may_begin.set()

    def execute(self, place: ContainerPlace, command: Sequence[str], *, stdin: bool, tty: bool) -> Session:
        self.is_asked.set()
        self.may_begin.wait()
        if self.failure:
            raise LabError(self.failure)
        return self.command.session

    def attach(self, place: ContainerPlace, *, stdin: bool) -> Session:
        return self.execute(place, (), stdin=stdin, tty=False)

    def log(self, place: ContainerPlace, *, previous: bool) -> Path | None:
        return None

    def is_running(self, place: ContainerPlace) -> bool:
        return True


@pytest.fixture
def command() -> Command:
    return Command()


@asynccontextmanager
async def talking(pods: Pods, path: str = EXEC) -> AsyncIterator[tuple[web.AppRunner, aiohttp.ClientWebSocketResponse]]:
    """Serve one pod, and give what serves it and a client of its command."""
    store = Store()
    store.create("namespaces", {"kind": "Namespace", "metadata": {"name": "shop"}})
    store.create("pods", {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"containers": [{"name": "main"}]}})
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = Server(store, token=TOKEN, port=port, stream=Streams(store, pods).answer)
    runner = web.AppRunner(server.application(), access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.SockSite(runner, listener).start()
    async with (
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}) as client,
        client.ws_connect(path, protocols=channels.PROTOCOLS) as stream,
    ):
        yield runner, stream
    server.hub.close()
    await runner.cleanup()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0)


def is_over(command: Command) -> bool:
    return command.session._closed


def connections(runner: web.AppRunner) -> int:
    assert runner.server is not None
    return len(runner.server.connections)


def run(story: Coroutine[Any, Any, None], command: Command) -> None:
    with asyncio.Runner(loop_factory=Clock) as runner:
        runner.run(asyncio.wait_for(story, 2 * AN_HOUR))
    command.close()
    command.session.close()
    os.close(command.stdin)


async def heard(stream: aiohttp.ClientWebSocketResponse) -> list[tuple[int, bytes]]:
    """Return what comes until the end, with frames of one channel that follow each other as one."""
    found: list[tuple[int, bytes]] = []
    async for message in stream:
        number, data = message.data[0], message.data[1:]
        if found and found[-1][0] == number:
            data = found.pop()[1] + data
        found.append((number, data))
    return found


def status(code: int) -> tuple[int, bytes]:
    return channels.STATUS, channels.ended(code)[1:]


class TestTheEnd:
    @pytest.mark.parametrize(("path", "told"), [(EXEC, 7), (ATTACH, 0)])
    def test_output_that_nobody_has_read_when_the_container_ends_comes_before_the_status(
        self, command: Command, path: str, told: int
    ) -> None:
        text = os.urandom(65_536)
        command.print(text)
        command.end(7)

        async def story() -> None:
            async with talking(Pods(command), path) as (_, stream):
                assert await heard(stream) == [(channels.STDOUT, text), status(told)]
                assert stream.close_code == 1000

        run(story(), command)

    def test_output_after_the_exit_code_comes_before_the_status(self, command: Command) -> None:
        command.tell(exit=0)
        # The file is open still, as when a child has it.
        command.print(b"last", "stderr")

        async def story() -> None:
            async with talking(Pods(command)) as (_, stream):
                assert await heard(stream) == [(channels.STDOUT, b""), (channels.STDERR, b"last"), status(0)]

        run(story(), command)

    def test_a_client_that_reads_an_hour_later_gets_everything(self, command: Command) -> None:
        text = os.urandom(65_536)
        command.print(text)
        command.end(3)

        async def story() -> None:
            async with talking(Pods(command)) as (runner, stream):
                # The client reads no frame, so it does not answer the server's farewell.
                await until(lambda: is_over(command))
                loop = asyncio.get_running_loop()
                assert isinstance(loop, Clock)
                loop.ahead += AN_HOUR
                for _ in range(10):
                    await asyncio.sleep(0)
                assert connections(runner) == 1
                assert await heard(stream) == [(channels.STDOUT, text), status(3)]

        run(story(), command)

    @pytest.mark.parametrize("path", [EXEC, ATTACH])
    def test_what_a_pod_printed_before_it_was_killed_arrives(self, command: Command, path: str) -> None:
        command.print(b"before")
        command.close()
        told = channels.failed("shop_p ended before it answered") if path == EXEC else channels.ended(0)

        async def story() -> None:
            async with talking(Pods(command), path) as (_, stream):
                assert await heard(stream) == [(channels.STDOUT, b"before"), (channels.STATUS, told[1:])]

        run(story(), command)


class TestTheBeginning:
    @pytest.mark.parametrize("at_once", [True, False])
    def test_a_command_that_cannot_be_started_ends_with_a_sentence(self, command: Command, at_once: bool) -> None:
        message = "container main is not running"
        if not at_once:
            command.tell(error=message)
            command.close()

        async def story() -> None:
            async with talking(Pods(command, message if at_once else "")) as (_, stream):
                *_, (number, last) = await heard(stream)
                assert number == channels.STATUS
                assert json.loads(last)["message"].endswith(message)

        run(story(), command)

    def test_a_session_whose_client_left_before_it_began_is_closed(self, command: Command) -> None:
        pods = Pods(command)
        pods.may_begin.clear()

        async def story() -> None:
            async with talking(pods) as (runner, stream):
                await until(pods.is_asked.is_set)
                connection = stream._response.connection
                assert connection is not None
                assert connection.transport is not None
                connection.transport.abort()
                await until(lambda: not connections(runner))
                pods.may_begin.set()
                await until(lambda: is_over(command))

        run(story(), command)


@pytest.mark.parametrize("size", [b'{"Width":1e999,"Height":24}', b"[" * 100_000])
def test_a_size_that_is_none_does_not_end_a_session(command: Command, size: bytes) -> None:
    async def story() -> None:
        async with talking(Pods(command)) as (_, stream):
            await stream.send_bytes(channels.frame(channels.RESIZE, size))
            await stream.send_bytes(channels.frame(channels.STDIN, b"typed"))
            assert await asyncio.to_thread(os.read, command.stdin, 100) == b"typed"
            command.print(b"out")
            command.end(0)
            assert await heard(stream) == [(channels.STDOUT, b"out"), status(0)]

    run(story(), command)
