# SPDX-License-Identifier: Apache-2.0
"""The agents of a lab, one process for each node: their logs are read, and they are started again when they end."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from podfence.agent.denials import DeniedFlow
from podfence.agent.node.answer import Settled
from podfence.agent.node.client import ask
from podfence.agent.node.presence import SOCKET
from podfence.agent.strays import Stray
from podfence.backoff import Backoff
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE
from podfence.dataplane.settings import Binding
from podfence.errors import PodfenceError
from podfence.kube.objects import Key, NetworkPolicy
from podfence.lab.access import Access
from podfence.lab.errors import LabError
from podfence.lab.network.namespaces import inside
from podfence.nft.errors import NotFoundError
from podfence.nft.process import NftRunner
from podfence.nft.transaction import Transaction
from podfence.policy.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from podfence.lab.journal import Journal
    from podfence.lab.processes.holder import Holder
    from podfence.lab.status import AgentState

RESTART_DELAY: Final = 0.2
"""The most seconds until an agent that ended is started again; they double each time that it ends soon."""

LAST_DELAY: Final = 5.0
"""The most seconds until that. Who has programmed anything, or lived for longer, has not ended soon."""

DOUBT: Final = 3.0
"""Seconds for which something must be wrong with a node before the lab says so. Agents look every second."""

_LOOK: Final = 0.02
"""Seconds between two calls of an agent that does not answer yet."""

STATE, RUN, RESULTS = "state", "run", "cni"
"""The folders of a node: what its agent keeps, where it answers, and what the lab made for pods, as libcni keeps it."""

_TOLD: Final = ("warning", "error", "critical")


class Order(msgspec.Struct, frozen=True):
    """Which node an agent is for, the folder of the node, the way to the API server, and what is to be enforced how."""

    node: str
    folder: str
    access: Access
    options: Options
    binding: Binding


class NodeAgent:
    """The agent of one node; `real` has the seconds from the receipt of each policy until the kernel had it."""

    def __init__(self, node: str, folder: Path, spawn: Callable[[int], int], journal: Journal) -> None:
        """Start nothing yet.

        `folder` is that of the node. `spawn` starts its process, which writes its log to an open
        file, and returns the process id.
        """
        self.node = node
        self.is_running = False
        self.real: dict[Key, float] = {}
        self._socket = folder / RUN / SOCKET
        self._spawn = spawn
        self._journal = journal
        self._pid = 0
        self._doubts: dict[str, threading.Timer] = {}
        self._backoff = Backoff(RESTART_DELAY, LAST_DELAY)

    def start(self) -> None:
        """Start the agent's process, now and whenever it has ended."""
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = self._spawn(writer)
        except (LabError, OSError) as error:
            os.close(reader)
            delay = self._start_later()
            self._say(f"cannot be started: {error}; the next try is in {delay:.1f} s")
        else:
            self.is_running = True
            threading.Thread(target=self._listen, args=(reader,), name=f"agent {self.node}", daemon=True).start()
        finally:
            os.close(writer)

    def settled(self, revisions: Mapping[str, int], deadline: float) -> bool:
        """Return whether the kernel has what was stored up to a revision of each kind, and the links of all pods.

        It is waited for until a monotonic time.
        """
        wanted = {kind: str(revision) for kind, revision in revisions.items()}
        while (left := deadline - time.monotonic()) > 0:
            with suppress(PodfenceError):
                if ask(self._socket, "settled", Settled, seconds=f"{left:.3f}", **wanted).reached:
                    return True
            # It is being started.
            time.sleep(_LOOK)
        return False

    @property
    def state(self) -> AgentState:
        """Whether the kernel has all that it should have."""
        if not self.is_running:
            return "not running"
        with suppress(PodfenceError):
            if ask(self._socket, "settled", Settled).enforcing:
                return "enforcing"
        return "behind"

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the agent if it runs."""
        if self.is_running:
            with suppress(ProcessLookupError):
                os.kill(self._pid, number)

    def _start_later(self) -> float:
        delay = self._backoff.failed()
        timer = threading.Timer(delay, self.start)
        timer.daemon = True
        timer.start()
        return delay

    def _listen(self, reader: int) -> None:
        began = time.monotonic()
        with open(reader, "rb") as lines:
            for line in lines:
                self._take(line)
        self.is_running = False
        self._say("ended; the kernel continues to enforce its rules; the lab starts another agent")
        if time.monotonic() - began > LAST_DELAY:
            self._backoff.worked()
        self._start_later()

    def _take(self, line: bytes) -> None:
        """Take in a line of the agent's log; what is no entry of it is printed as it is."""
        try:
            entry = msgspec.json.decode(line, type=dict[str, Any])
            for text in self._sentences(entry):
                self._say(text)
        except (msgspec.MsgspecError, LookupError, TypeError):
            self._say(line.decode("utf-8", "replace").rstrip())

    def _sentences(self, entry: dict[str, Any]) -> list[str]:
        event = str(entry["event"])
        if event == "programmed":
            self._backoff.worked()
            key = Key(entry["kind"], entry["namespace"], entry["name"])
            if entry["change"] == "deleted":
                self.real.pop(key, None)
            elif key.kind == NetworkPolicy.__name__:
                self.real[key] = entry["seconds"]
        elif event in _FLOWS:
            kind = _FLOWS[event]
            # The log leaves out what is not known.
            fields: list[Any] = [entry.get(name, None if name == "port" else "") for name in kind._fields]
            return [str(kind(*fields))]
        elif "differences" in entry:
            return [f"repaired: {text}" for text in entry["differences"]]
        elif "flows" in entry:
            return [f"cut {entry['flows']} established flow{'s' if entry['flows'] > 1 else ''} that policies now deny"]
        elif "code" in entry:
            self._found(entry["code"], event, told=entry["level"] in _TOLD)
        elif entry["level"] in _TOLD:
            return [event]
        return []

    def _found(self, code: str, text: str, *, told: bool) -> None:
        """Say what is wrong with the node if that stays so: much is, for a moment, while pods are connected."""
        if (timer := self._doubts.pop(code, None)) is not None:
            timer.cancel()
        if told:
            self._doubts[code] = timer = threading.Timer(DOUBT, self._say, (text,))
            timer.daemon = True
            timer.start()

    def _say(self, text: str) -> None:
        self._journal.say(f"agent {self.node}", text)


_FLOWS: Final[Mapping[str, type[DeniedFlow | Stray]]] = {"denied": DeniedFlow, "stray": Stray}


@contextmanager
def lifted(agents: Iterable[NodeAgent], nodes: Iterable[Holder]) -> Iterator[None]:
    """Have no policy in force on nodes while this lasts: agents wait, and the kernels pass over their tables.

    Afterwards all is as it was, and the agents go on, also if something fails. Raises NftError, and NetworkError if a
    node has ended.
    """
    with ExitStack() as after:
        for agent in agents:
            after.callback(agent.send, signal.SIGCONT)
            agent.send(signal.SIGSTOP)
        for node in nodes:
            after.callback(_set, node, dormant=False)
            _set(node, dormant=True)
        yield


def _set(node: Holder, *, dormant: bool) -> None:
    runner = NftRunner()
    with inside(node.pid, node.name):
        for table in (TABLE, BRIDGE_TABLE):
            with suppress(NotFoundError):
                found = runner.list_table(table)
                runner.run(Transaction(found).add(replace(found, dormant=dormant)))
