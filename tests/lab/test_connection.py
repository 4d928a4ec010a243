# SPDX-License-Identifier: Apache-2.0
"""Messages between the processes of a lab arrive whole, with the files that were sent along."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from podfence.lab.connection import Connection
from podfence.lab.operations import Request
from podfence.lab.processes.probing import raise_limit_of_files

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def ends() -> Iterator[tuple[Connection, Connection]]:
    here, there = socket.socketpair()
    with Connection(here) as one, Connection(there) as other:
        yield one, other


def test_messages_arrive_in_order_and_the_end_is_none(ends: tuple[Connection, Connection]) -> None:
    here, there = ends
    here.send({"do": "this"})
    here.send({"do": "that", "text": "€"})
    here.close()
    assert there.receive() == ({"do": "this"}, [])
    assert there.receive() == ({"do": "that", "text": "€"}, [])
    assert there.receive() is None


def test_files_come_with_their_message_and_are_not_inherited(ends: tuple[Connection, Connection]) -> None:
    here, there = ends
    reading, writing = os.pipe()
    here.send({"number": 0})
    here.send({"number": 1}, [writing])
    os.close(writing)
    first, second = there.receive(), there.receive()
    assert first == ({"number": 0}, [])
    assert second is not None
    message, (received,) = second
    assert message == {"number": 1}
    assert not os.get_inheritable(received)
    os.write(received, b"through it")
    os.close(received)
    assert os.read(reading, 100) == b"through it"
    os.close(reading)


def test_a_message_larger_than_any_buffer_arrives(ends: tuple[Connection, Connection]) -> None:
    here, there = ends
    message = {"text": "x" * 5_000_000}
    sender = threading.Thread(target=here.send, args=(message,))
    sender.start()
    assert there.receive() == (message, [])
    sender.join()


def test_a_message_that_breaks_off_is_the_end_and_its_files_are_closed(ends: tuple[Connection, Connection]) -> None:
    here, there = ends
    reading, writing = os.pipe()
    socket.send_fds(here.socket, [b"\0\0\0\x10{"], [writing])
    os.close(writing)
    here.close()
    assert there.receive() is None
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_an_end_that_was_closed_with_something_unread_is_the_end(ends: tuple[Connection, Connection]) -> None:
    here, there = ends
    there.send({"do": "nothing"})
    here.close()
    assert there.receive() is None


def test_nobody_there_is_an_error_for_the_sender(ends: tuple[Connection, Connection]) -> None:
    here, there = ends
    there.close()
    with pytest.raises(BrokenPipeError):
        here.send({})


def test_somebody_who_hangs_up_is_noticed_whatever_number_the_file_has(ends: tuple[Connection, Connection]) -> None:
    here, there = ends
    raise_limit_of_files()
    with Connection(socket.socket(fileno=fcntl.fcntl(here, fcntl.F_DUPFD_CLOEXEC, 1500))) as connection:
        request = Request("logs", {}, [], connection)
        assert not request.is_dropped
        there.close()
        assert request.is_dropped
