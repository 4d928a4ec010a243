# SPDX-License-Identifier: Apache-2.0
"""The private namespaces that a lab lives in, seen from outside: how they begin, and where to call.

Everything of a lab is below one process that is the first of its own PID namespace: when that ends, however it
ends, the kernel ends all others and takes the network away. The ways in are a socket with an abstract name and one of
the API server, made here before the namespaces are. The only file of a lab is the kubeconfig for that.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Final

from podfence.errors import MissingProgramError
from podfence.lab import access
from podfence.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGES: Final[Mapping[str, str]] = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "dnsmasq": "dnsmasq-base",
    "busybox": "busybox",
    "openssl": "openssl",
}
"""The programs a lab runs, and Debian's packages of them."""

SYSTEM_PATH: Final = "/usr/sbin:/sbin"
"""Where Debian keeps such programs, which is not on the PATH of ordinary users."""

_MODULES: Final = ("aiohttp", "prometheus_client", "structlog")
"""What agents, and the API server, are built on."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,60}")
_LOOPBACK: Final = "127.0.0.1"
_ABSTRACT: Final = "\0"
_NAMESPACES: Final = ("--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")
_USER: Final = ("--user", "--map-root-user")


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A process tree that has been started.

    `ended` is a file that becomes readable when the last of the processes has ended, `stderr` the one that they
    complain to.
    """

    process: subprocess.Popen[bytes]
    ended: int
    stderr: int

    def complaint(self) -> str:
        """Return the end of what was written to standard error."""
        size = os.fstat(self.stderr).st_size
        return os.pread(self.stderr, 4096, max(0, size - 4096)).decode("utf-8", "replace").strip()

    def close(self) -> None:
        """Close the files; the processes stay."""
        os.close(self.ended)
        os.close(self.stderr)


def search_path() -> str:
    """Return the PATH on which the programs of a lab are looked for."""
    return f"{os.environ.get('PATH', os.defpath)}:{SYSTEM_PATH}"


def require_programs() -> None:
    """Raise MissingProgramError, with what to install, if a program or a package is not there."""
    missing = [name for name in PACKAGES if shutil.which(name, path=search_path()) is None]
    if missing:
        packages = " ".join(sorted({PACKAGES[name] for name in missing}))
        message = (
            f"a lab needs {', '.join(missing)}; install {packages} (on Debian, as root: apt-get install {packages})"
        )
        raise MissingProgramError(message)
    if absent := [name for name in _MODULES if importlib.util.find_spec(name) is None]:
        raise MissingProgramError(f"a lab needs {', '.join(absent)}: pip install 'podfence[agent]'")


def isolation() -> tuple[str, ...]:
    """Return the command that makes the private namespaces; raise LabError where the system does not allow them.

    A user namespace is used also by root, so that a lab has no rights over the machine; root can do without one
    where there are none.
    """
    refusals = []
    for flags in ((*_USER, *_NAMESPACES), *(((*_NAMESPACES,),) if os.geteuid() == 0 else ())):
        command = ("unshare", *flags)
        tried = subprocess.run((*command, "true"), capture_output=True, text=True, check=False, env=environment())
        if tried.returncode == 0:
            return command
        refusals.append(tried.stderr.strip() or f"exit code {tried.returncode}")
    raise LabError(
        f"this system does not let you create the namespaces of a lab ({refusals[0]}); allow user namespaces "
        "(sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces, and where AppArmor restricts them "
        "kernel.apparmor_restrict_unprivileged_userns=0), or run it as root"
    )


def environment() -> dict[str, str]:
    """Return the environment of the processes of a lab."""
    return {**os.environ, "PATH": search_path()}


def address(name: str) -> str:
    """Return the name of the socket of a lab of this user; raise LabError for what cannot be a name."""
    if not _NAME.fullmatch(name):
        raise LabError(f"{name!r} is not a valid name of a lab: use 1 to 60 letters, digits, dots, dashes, underscores")
    return f"{_ABSTRACT}{_prefix()}{name}"


def _prefix() -> str:
    return f"podfence-lab/{os.geteuid()}/"


def names() -> list[str]:
    """Return the names of the labs of this user that run, in order."""
    mark = f"@{_prefix()}"
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:  # noqa: PTH123 - the kernel's
        paths = {line.split()[-1] for line in table}
    return sorted(path.removeprefix(mark) for path in paths if path.startswith(mark))


def start(name: str) -> Sandbox:
    """Start a lab's processes; they answer on `connect` as soon as they run.

    Their API server listens on a free port of this machine's loopback address, which no pod reaches.
    Raises LabError if a lab of that name runs, or namespaces are not allowed; MissingProgramError.
    """
    require_programs()
    command = isolation()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, socket.create_server((_LOOPBACK, 0)) as api:
        try:
            listener.bind(address(name))
        except OSError as error:
            raise LabError(f"a lab named {name} already runs; run `podfence lab down` to stop it") from error
        listener.listen(64)
        stderr = os.memfd_create("podfence-lab")
        numbers = (listener.fileno(), api.fileno())
        process = subprocess.Popen(
            (*command, sys.executable, "-P", "-m", "podfence.lab", *map(str, numbers)),
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            pass_fds=numbers,
            start_new_session=True,
            env=environment(),
        )
    return Sandbox(process, os.pidfd_open(process.pid), stderr)


def connect(name: str) -> socket.socket:
    """Return a connection to a running lab of this user; raise LabError if there is none."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(address(name))
    except OSError as error:
        connection.close()
        access.remove(name)
        which = "" if name == DEFAULT_NAME else f" named {name}"
        raise LabError(f"no lab{which} is running; run `podfence lab up` to start one") from error
    if peer_user(connection) != os.geteuid():
        connection.close()
        raise LabError(f"the socket of lab {name} belongs to another user")
    return connection


DEFAULT_NAME: Final = "lab"
"""What a lab is called that is not given a name."""


def version() -> str:
    """Return the version of podfence, "" where it runs without having been installed."""
    try:
        return metadata.version("podfence")
    except metadata.PackageNotFoundError:
        return ""


def peer_user(connection: socket.socket) -> int:
    """Return the number of the user at the other end, as this user namespace counts."""
    credentials = struct.Struct("3i")
    found: tuple[int, int, int] = credentials.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, credentials.size)
    )
    return found[1]
