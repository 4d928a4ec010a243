# SPDX-License-Identifier: Apache-2.0
"""``log``: what a container printed, and what it prints while the client listens."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, closing, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web

from podfence.lab import lines
from podfence.lab.apiserver.options import is_true
from podfence.lab.apiserver.status import bad_request, invalid_fields

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator
    from pathlib import Path

    from podfence.lab.apiserver.streams.containers import ContainerPlace, Containers
    from podfence.lab.store.errors import RefusedError

_BEAT: Final = 0.1
"""Seconds between two looks for new lines."""

_AT_ONCE: Final = 65_536
_SECOND: Final = 1_000_000_000


class _Asked(NamedTuple):
    """What a request wants to see of a log."""

    follow: bool
    previous: bool
    timestamps: bool
    since: int
    tail: int | None
    limit: int | None


async def log(pods: Containers, request: web.Request, where: ContainerPlace) -> web.StreamResponse:
    """Write the lines of a container's log as text; with `follow` until the container ends. Raises RefusedError."""
    asked = _asked(request, where.pod)
    path = pods.log(where, previous=asked.previous)
    if path is None:
        raise bad_request(
            f'previous terminated container "{where.container}" in pod "{where.pod}" not found'
            if asked.previous
            else f'container "{where.container}" in pod "{where.pod}" is waiting to start: ContainerCreating'
        )
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    left = asked.limit
    # The client may leave at any time.
    with suppress(ConnectionError):
        async with aclosing(_printed(pods, request, where, path, asked)) as pieces:
            async for data in pieces:
                await response.write(data[:left])
                if left is not None and (left := left - len(data)) <= 0:
                    break
        await response.write_eof()
    return response


async def _printed(
    pods: Containers, request: web.Request, where: ContainerPlace, path: Path, asked: _Asked
) -> AsyncGenerator[bytes, None]:
    with closing(lines.LogReader(path)) as reader:
        entries = lines.chosen(reader.entries(), since=asked.since, tail=asked.tail)
        while True:
            for data in _together(entry.printed(timestamps=asked.timestamps) for entry in entries):
                yield data
            if not asked.follow or asked.previous or request.transport is None:
                return
            # In this order: what a container prints last is in its log before it is known to have ended.
            is_running = pods.is_running(where) and reader.is_latest
            entries = list(reader.entries())
            if not is_running and not entries:
                return
            if not entries:
                await asyncio.sleep(_BEAT)


def _together(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the same bytes in larger pieces."""
    data = b""
    for piece in pieces:
        data += piece
        if len(data) >= _AT_ONCE:
            yield data
            data = b""
    if data:
        yield data


def _asked(request: web.Request, pod: str) -> _Asked:
    """Return what the options of a request say; raise RefusedError as an API server does."""
    tail = _number(request, pod, "tailLines", least=0)
    limit = _number(request, pod, "limitBytes", least=1)
    seconds = _number(request, pod, "sinceSeconds", least=1)
    moment = request.query.get("sinceTime", "")
    if seconds is not None and moment:
        raise _invalid(pod, "sinceSeconds", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")
    since = 0 if seconds is None else time.time_ns() - seconds * _SECOND
    if moment:
        try:
            since = lines.nanoseconds(moment)
        except ValueError:
            raise bad_request(f"sinceTime is a time such as 2026-11-29T16:00:00Z, not {moment!r}") from None
    return _Asked(
        follow=is_true(request.query, "follow"),
        previous=is_true(request.query, "previous"),
        timestamps=is_true(request.query, "timestamps"),
        since=since,
        tail=tail,
        limit=limit,
    )


def _number(request: web.Request, pod: str, name: str, *, least: int) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        raise bad_request(f"{name} is a number, not {text!r}") from None
    if number < least:
        bound = "greater than 0" if least else "greater than or equal to 0"
        raise _invalid(pod, name, f"Invalid value: {number}: must be {bound}")
    return number


def _invalid(pod: str, field: str, message: str) -> RefusedError:
    return invalid_fields("", "PodLogOptions", pod, [(field, message)])
