# SPDX-License-Identifier: Apache-2.0
"""Carries what a client types to a session, and what the session prints to the client, until one of them ends."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aiohttp import WSMsgType

from podfence.lab.apiserver.streams import channels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from podfence.lab.processes.session import Session

_AT_ONCE: Final = 32_768
_LAST_WORDS: Final = 0.2
"""Seconds to wait for more output after a command has ended while its children still have its files open."""


async def carry(socket: web.WebSocketResponse, session: Session, wanted: frozenset[str]) -> int | None:
    """Carry until the session ends, and return its exit code; None if the client left first.

    Everything that was printed has been sent then. `wanted` are the streams of output that the client wants; the others
    are read and dropped. Raises LabError if the command could not be started, or if its pod has ended.
    """
    ended = asyncio.Event()
    incoming = asyncio.create_task(_take(socket, session))
    ending = asyncio.create_task(_end(session, ended))
    outgoing = [
        asyncio.create_task(_give(socket, channels.OUTPUTS[name] if name in wanted else None, number, ended))
        for name, number in session.outputs.items()
    ]
    tasks = [incoming, ending, *outgoing]
    try:
        await asyncio.wait({incoming, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            return None
        await asyncio.wait(outgoing)
        return ending.result()
    finally:
        await _stop(tasks)


async def _stop(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _take(socket: web.WebSocketResponse, session: Session) -> None:
    """Do what the client's frames say, until it leaves."""
    can_end = socket.ws_protocol == channels.PROTOCOLS[0]
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == channels.STDIN:
            await _write(session, data)
        elif channel == channels.RESIZE:
            if (size := channels.size(data)) is not None:
                session.resize(*size)
        elif channel == channels.CLOSE and can_end and data == bytes((channels.STDIN,)):
            session.end_input()


async def _write(session: Session, data: bytes) -> None:
    """Write what was typed; a command that does not read any more gets no more."""
    while data and session.stdin >= 0:
        try:
            data = data[os.write(session.stdin, data) :]
        except BlockingIOError:
            await _ready(session.stdin, write=True)
        except OSError:
            return


async def _give(socket: web.WebSocketResponse, channel: int | None, number: int, ended: asyncio.Event) -> None:
    """Send what a file holds until its end, or until nothing more comes after the command has ended."""
    while True:
        try:
            data = os.read(number, _AT_ONCE)
        except BlockingIOError:
            if await _comes(number, ended):
                continue
            return
        except OSError:
            # A terminal that nobody has open any more.
            return
        if not data:
            return
        if channel is not None:
            with suppress(ConnectionError):
                await socket.send_bytes(channels.frame(channel, data))


async def _end(session: Session, ended: asyncio.Event) -> int:
    await _ready(session.execution.fileno())
    ended.set()
    return session.execution.wait()


async def _comes(number: int, ended: asyncio.Event) -> bool:
    """Wait until a file can be read, or the command has ended; return False if nothing comes after that."""
    if ended.is_set():
        return await _ready(number, patience=_LAST_WORDS)
    tasks = [asyncio.create_task(_ready(number)), asyncio.create_task(ended.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _stop(tasks)
    return True


async def _ready(number: int, *, write: bool = False, patience: float | None = None) -> bool:
    """Wait until a file can be read or written, and return whether that is so in time."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    add(number, event.set)
    try:
        await asyncio.wait_for(event.wait(), patience)
    except TimeoutError:
        return False
    finally:
        remove(number)
    return True
