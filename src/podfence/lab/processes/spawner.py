# SPDX-License-Identifier: Apache-2.0
"""The supervisor's side of the process that all pods are forked from."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Self

from podfence.lab.connection import Connection
from podfence.lab.errors import LabError
from podfence.lab.processes.forking import Parent
from podfence.lab.processes.holder import Holder, SourcePorts
from podfence.lab.processes.podinit import Setup
from podfence.lab.processes.probing import raise_limit_of_files
from podfence.lab.processes.rootfs import pod_files

if TYPE_CHECKING:
    from io import BufferedReader

    from podfence.lab.objects.containers import PodSpec


class Spawner:
    """Makes pods and nodes; all methods may be called from any thread.

    `store` is a folder in memory that all pods see too, read-only, at `store_in_pods`; images are unpacked there.
    Mounts made after the start of the spawner are not seen in pods.
    """

    def __init__(self, process: subprocess.Popen[bytes], raw: socket.socket) -> None:
        """Use `start`."""
        self._process = process
        self._parent = Parent(raw, "pods")
        self._holders: dict[int, Holder] = {}
        self._poll = select.epoll()
        self._waker, self._wakened = socket.socketpair()
        self._poll.register(self._wakened, select.EPOLLIN)
        self.store_in_pods = self._parent.folder
        # Open, it stays when that process has ended: pods go on writing there.
        self._folder = os.open(f"/proc/{process.pid}/root{self.store_in_pods}", os.O_PATH | os.O_CLOEXEC)
        self.store = Path(f"/proc/{os.getpid()}/fd/{self._folder}")
        self._thread = threading.Thread(target=self._listen, name="spawner", daemon=True)
        self._thread.start()

    @classmethod
    def start(cls) -> Self:
        """Start the process that forks. Raises LabError, and OSError where there are no processes to be had.

        This process may have as many open files as the system lets it, from then on: every pod takes two.
        """
        raise_limit_of_files()
        here, there = socket.socketpair()
        with there:
            number = there.fileno()
            process = subprocess.Popen(
                (sys.executable, "-P", "-m", "podfence.lab.processes.zygote", str(number)),
                stdin=subprocess.DEVNULL,
                pass_fds=(number,),
            )
        try:
            return cls(process, here)
        except BaseException:
            here.close()
            process.kill()
            process.wait()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def holder(self, name: str) -> Holder:
        """Make a node, or the outside world: a network with a name, and the machine's files. Raises LabError."""
        return self._hold(Setup(name, str(self.store_in_pods)), None)

    def pod(self, spec: PodSpec, join: Holder | None = None) -> Holder:
        """Make a pod without starting its containers; with `join` it shares the network of a node. Raises LabError."""
        return self._hold(Setup(spec.hostname, str(self.store_in_pods), pod_files(spec)), join)

    def close(self) -> None:
        """Kill everything that was made here, and return when it is gone."""
        for holder in list(self._holders.values()):
            holder.close()
        self._parent.close()
        self._waker.close()
        self._thread.join()
        self._process.wait()
        self._wakened.close()
        self._poll.close()
        os.close(self._folder)

    def _hold(self, setup: Setup, join: Holder | None) -> Holder:
        here, there = socket.socketpair()
        connection = Connection(here, f"cannot start {setup.name}: the process ended at once")
        with ExitStack() as undo:
            undo.callback(connection.close)
            with there, nullcontext() if join is None else network_of(join) as network:
                files = [there.fileno(), *([] if network is None else [network.fileno()])]
                pid, process = self._parent.start(setup.name, setup, files)
            undo.callback(os.close, process)
            connection.answer()
            undo.pop_all()
        holder = Holder(setup.name, pid, process, connection, SourcePorts() if join is None else join.ports)
        self._holders[connection.fileno()] = holder
        self._poll.register(connection, select.EPOLLIN)
        return holder

    def _listen(self) -> None:
        """Pass on what the inits say, until this is closed."""
        while True:
            for number, _ in self._poll.poll():
                if number == self._wakened.fileno():
                    return
                holder = self._holders[number]
                if not holder.take_report():
                    # The number can only be used again once it is closed, so this is the last that is heard of it.
                    self._poll.unregister(number)
                    del self._holders[number]
                    holder.connection.close()


def network_of(holder: Holder) -> BufferedReader:
    """Return an open file that stands for the network of a holder. Raises LabError if that has ended."""
    try:
        return Path(f"/proc/{holder.pid}/ns/net").open("rb")
    except OSError as error:
        raise LabError(f"{holder.name} has ended") from error
