# SPDX-License-Identifier: Apache-2.0
"""What a forked child of a pod's init does to become a container's process, a command, or the one who probes."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import termios
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from podfence.lab import kernel
from podfence.lab.processes import forking, probing, responders, rootfs
from podfence.lab.processes.probing import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from podfence.lab.connection import Connection
    from podfence.lab.processes.console import Ends
    from podfence.lab.processes.program import Program

SYSTEM_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The machine's resolver would take 20 s to find that DNS is cut; that of small images takes 5 s.
_RESOLVER: Final = "timeout:1 attempts:2"
NOT_FOUND: Final = 127
NOT_STARTED: Final = 126


def fork(work: Callable[[], None]) -> int:
    """Start a child that does some work and ends; return its process id. Whatever happens, the child never returns."""

    def complaining() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            work()
        except OSError as error:
            _complain(f"{error.filename or 'system'}: {error.strerror}")
            os._exit(1)

    return forking.fork(complaining)


def container(program: Program, pod: str, place: Path, store: Path, ends: Ends) -> None:
    """Become a container's process, or its stand-in, with these standard files.

    `place` is for what it writes. All other files are closed when it has its own root.
    """
    os.setsid()
    os.dup2(ends.stderr, 2)
    for name, content in program.files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    if program.image:
        rootfs.enter_image(store / program.image, place)
    _redirect(ends, tty=program.tty)
    if program.stand_in is not None:
        responders.serve(program.stand_in, pod)
    argv = program.argv if program.image else preferred(program.argv, store)
    execute(argv, environment(pod, store, program.env, tty=program.tty), program.working_dir)


def command(
    argv: Sequence[str], fds: Sequence[int], env: Mapping[str, str], working_dir: str, *, tty: bool, beside: int | None
) -> None:
    """Become a command with these standard files, among the files of another process if its pidfd is given."""
    os.setsid()
    if beside is not None:
        kernel.join(beside, kernel.NEW_MOUNT)
    _redirect(fds, tty=tty)
    execute(argv, env, working_dir)


def probe(connection: Connection) -> None:
    """Read probes from a connection, try them, and write what became of them."""
    received = connection.receive()
    if received is None:
        return
    message: dict[str, Any] = received[0]
    probes = [Probe(*item) for item in message["probes"]]
    connection.send({"outcomes": probing.run(probes, message["ports"])})


def environment(pod: str, store: Path, env: Mapping[str, str], *, tty: bool, machine: bool = False) -> dict[str, str]:
    """Return the environment of a process in a container: what every one has, as with containerd, and its own.

    `machine` is for nodes and outside, where this machine's programs come before those that images have.
    """
    places = (SYSTEM_PATH, f"{store}/bin") if machine else (f"{store}/bin", SYSTEM_PATH)
    own = {"PATH": ":".join(places), "HOSTNAME": pod, "HOME": "/root", "RES_OPTIONS": _RESOLVER}
    return {**own, **({"TERM": "xterm"} if tty else {}), **env}


def preferred(argv: Sequence[str], store: Path) -> Sequence[str]:
    """Return a command of a pod with busybox's program, as by its name, where the usual path of one is written.

    So ``/bin/sh`` is the shell that it is in small images, whatever it is on this machine.
    """
    folder, _, name = argv[0].rpartition("/") if argv else ("", "", "")
    own = store / "bin" / name
    return (str(own), *argv[1:]) if folder in SYSTEM_PATH.split(":") and own.exists() else argv


def execute(argv: Sequence[str], env: Mapping[str, str], working_dir: str) -> NoReturn:
    """Replace this process by a program, looked for on the PATH of `env`; end as a shell would if it is not there."""
    # Python ignores these for itself; programs expect to be ended by them.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.chdir(working_dir)
    except OSError as error:
        _complain(f"working directory {working_dir}: {error.strerror}")
        os._exit(NOT_STARTED)
    if not argv:
        _complain("no command: the image has none, and the container names none")
        os._exit(NOT_FOUND)
    try:
        os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606 - that is what containers are for
    except OSError as error:
        found = error.errno not in {errno.ENOENT, errno.ENOTDIR}
        _complain(f'exec: "{argv[0]}": {error.strerror if found else "executable file not found in $PATH"}')
        os._exit(NOT_STARTED if found else NOT_FOUND)


def _redirect(fds: Sequence[int], *, tty: bool) -> None:
    """Make these files the standard ones, and close all others.

    With `tty`, standard input becomes the terminal of this session, where keys such as Ctrl-C mean something.
    """
    copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in fds]
    for number, fd in enumerate(copies):
        os.dup2(fd, number)
    os.closerange(3, max(os.sysconf("SC_OPEN_MAX"), 1024))
    if tty:
        with suppress(OSError):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _complain(text: str) -> None:
    with suppress(OSError):
        os.write(2, f"{text}\n".encode())


def name_process(name: str) -> None:
    """Give this process a name that `ps` shows."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name[:15], encoding="utf-8")
