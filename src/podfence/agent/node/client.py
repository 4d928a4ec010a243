# SPDX-License-Identifier: Apache-2.0
"""Questions of commands to the agent of their node, over its Unix socket."""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from podfence.agent.node.answer import Refusal
from podfence.errors import EndpointError, PodfenceError

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE: Final = 60.0
"""Seconds for an answer; reading a large table takes some, and the loop may be busy."""

_Answer = TypeVar("_Answer")


class NoAgentError(PodfenceError):
    """There is no agent to ask, or it may not be asked."""


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path, what: str, answer: type[_Answer], **query: str | None) -> _Answer:
    """Return the answer of the agent at a socket to ``/what?query``; fields that are None are left out.

    Raises NoAgentError if no agent answers there, EndpointError if it cannot read the question, and PodfenceError
    if it has no answer.
    """
    fields = {name: value for name, value in query.items() if value is not None}
    connection = _Connection(path)
    try:
        connection.request("GET", f"/{what}?{urlencode(fields)}")
        response = connection.getresponse()
        code, body = response.status, response.read()
    except PermissionError as error:
        message = f"the agent at {path} answers only the user that it runs as: try again as root"
        raise NoAgentError(message) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        message = (
            f"no agent answers at {path}: run this command on a node with an agent, "
            "or in the agent's pod with `kubectl exec`; --socket PATH names another socket"
        )
        raise NoAgentError(message) from error
    except TimeoutError as error:
        message = f"the agent at {path} did not answer within {PATIENCE:.0f} s; see its log"
        raise NoAgentError(message) from error
    except (OSError, http.client.HTTPException) as error:
        message = f"the agent at {path} cannot be asked: {str(error) or type(error).__name__}"
        raise NoAgentError(message) from error
    finally:
        connection.close()
    try:
        if code == 200:
            return msgspec.json.decode(body, type=answer)
        text = msgspec.json.decode(body, type=Refusal).error
    except msgspec.DecodeError as error:
        message = (
            f"the agent at {path} answers in another format ({error}): use the version of podfence that the agent has"
        )
        raise NoAgentError(message) from error
    raise EndpointError(text) if code == 400 else PodfenceError(text)
