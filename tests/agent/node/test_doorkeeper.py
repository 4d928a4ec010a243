# SPDX-License-Identifier: Apache-2.0
"""Connections to the port that everybody reaches: how many there may be, and for how long."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from podfence.agent.node.doorkeeper import MOST_EACH, Doorkeeper
from podfence.nft.process import NftRunner
from tests.agent.node.running import PATIENCE, Running
from tests.dataplane.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HALF = b"GET /metrics HTTP/1.1\r\nHost: n1\r\n"
WHOLE = b"GET /livez HTTP/1.0\r\n\r\n"


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


async def connected(port: int, source: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))


async def answered(port: int, source: str) -> bool:
    """Return whether a connection is let in."""
    reader, writer = await connected(port, source)
    try:
        writer.write(b"x")
        return await reader.read(1) == b"x"
    except ConnectionError:
        return False
    finally:
        writer.close()


async def ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send until the connection is over."""
    try:
        while True:
            writer.write(b"x")
            if not await reader.read(1):
                return True
    except ConnectionError:
        return True
    finally:
        writer.close()


def test_an_address_has_few_connections_all_together_some_and_the_node_itself_any_number() -> None:
    async def play() -> None:
        keeper = Doorkeeper(Echo, most=4, most_each=2, most_addresses=4)
        server = await asyncio.get_running_loop().create_server(keeper, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        held = [await connected(port, "127.0.0.2") for _ in range(2)]
        for _, writer in held:
            writer.write(b"x")
        assert [await reader.read(1) for reader, _ in held] == [b"x", b"x"]
        assert not await answered(port, "127.0.0.2")
        assert await answered(port, "127.0.0.3")
        for _, writer in held:
            writer.close()
        # Those that are over count as long as those that are not.
        assert not await answered(port, "127.0.0.2")
        assert await answered(port, "127.0.0.3")
        assert not await answered(port, "127.0.0.3")
        # There are as many as all may have: who has none yet is let in all the same, once.
        assert await answered(port, "127.0.0.4")
        assert not await answered(port, "127.0.0.4")
        assert await answered(port, "127.0.0.5")
        assert not await answered(port, "127.0.0.6")
        for _ in range(20):
            assert await answered(port, "127.0.0.1")
        server.close()

    asyncio.run(asyncio.wait_for(play(), PATIENCE))


def test_a_connection_ends_when_its_time_is_over_whatever_it_sends_and_makes_room_then() -> None:
    async def play() -> None:
        keeper = Doorkeeper(Echo, most_each=1, seconds=0.05)
        server = await asyncio.get_running_loop().create_server(keeper, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for _ in range(2):
            assert await ends(*await connected(port, "127.0.0.2"))
            while not await answered(port, "127.0.0.2"):
                pass
        server.close()

    asyncio.run(asyncio.wait_for(play(), PATIENCE))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with (
        Network(("172.18.0.1",), (("10.0.0.1",),)) as network,
        Running(NftRunner(prefix=network.prefix), tmp_path) as found,
    ):
        yield found


def test_half_requests_of_one_address_keep_nobody_else_from_metrics_and_probes(running: Running) -> None:
    port = running.serving.port
    half = []
    try:
        for _ in range(3 * MOST_EACH):
            one = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=("127.0.0.2", 0))
            half.append(one)
            one.sendall(HALF)
        closed = 0
        for one in half[MOST_EACH:]:
            try:
                closed += one.recv(1) == b""
            except ConnectionError:
                closed += 1
        assert closed == 2 * MOST_EACH
        assert running.get("/livez")[0] == 200
        with socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=("127.0.0.3", 0)) as other:
            other.sendall(WHOLE)
            assert other.recv(12) == b"HTTP/1.0 200"
    finally:
        for one in half:
            one.close()


def test_a_connection_has_one_answer_so_that_requests_are_as_few_as_connections(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.serving.port), PATIENCE) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: n1\r\n\r\n" * 20 + b"GET /nothing HTTP/1.1\r\nHost: n1\r\n\r\n")
        told = b"".join(iter(lambda: one.recv(1 << 16), b""))
    assert told.count(b"HTTP/1.1 200") == 1
    assert b"Connection: close" in told
