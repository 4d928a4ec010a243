# SPDX-License-Identifier: Apache-2.0
"""Which program stands for an image: the machine's own where it has one, a stand-in otherwise."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.lab.processes.archive import reference
from podfence.lab.processes.program import Program, StandIn
from podfence.lab.processes.responders import WELCOME
from podfence.lab.processes.rootfs import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from podfence.lab.objects.containers import Container
    from podfence.lab.processes.archive import Image

_SHELLS: Final = frozenset({
    "alpine", "bash", "busybox", "curl", "debian", "dnsutils", "fedora", "jessie-dnsutils", "netshoot", "toolbox",
    "toybox", "ubuntu",
})  # fmt: skip
_OWN_PROGRAMS: Final = frozenset({"nginx", "redis"})
_DEFAULT_PORTS: Final[Mapping[str, tuple[int, ...]]] = {
    "cassandra": (9042,),
    "elasticsearch": (9200,),
    "etcd": (2379,),
    "httpd": (80,),
    "kafka": (9092,),
    "mariadb": (3306,),
    "memcached": (11211,),
    "mongo": (27017,),
    "mysql": (3306,),
    "postgres": (5432,),
    "rabbitmq": (5672,),
    "tomcat": (8080,),
}
_NGINX: Final = """\
daemon off;
master_process off;
user root;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{
    worker_connections 1024;
}}
http {{
    default_type text/html;
    access_log /dev/stdout;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
{listen}        root {folder}/html;
    }}
}}
"""


def short_name(image: str) -> str:
    """Return the name of an image without registry, folder, tag and digest."""
    return image.split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]


def choose(container: Container, loaded: Mapping[str, Image], path: str, dns: Sequence[str] = ()) -> Program:
    """Return what to start for a container.

    `loaded` has the images read from archives by their `reference`; `path` is the PATH on which this machine's
    programs are looked for. A `command` that this machine has is run in a container of any image, unless ports
    are declared: then it is more useful that something answers on them. `dns` is the command that serves names
    in place of CoreDNS.
    """
    program = _chosen(container, loaded, path, dns)
    return msgspec.structs.replace(program, stdin=container.stdin, stdin_once=container.stdin_once, tty=container.tty)


def answered_ports(container: Container, program: Program | None) -> tuple[int, ...]:
    """Return the TCP ports on which something should answer when a container runs a program."""
    return _declared(container, "TCP") if program is None or program.stand_in is None else program.stand_in.tcp


def _chosen(container: Container, loaded: Mapping[str, Image], path: str, dns: Sequence[str]) -> Program:
    image = loaded.get(reference(container.image))
    if image is not None:
        return _from_archive(container, image)
    name = short_name(container.image)
    if name == "coredns" and dns:
        return _run(container, dns, f"stand-in: {Path(dns[0]).name} of this machine instead of CoreDNS")
    own = _own_program(name, container, path)
    if own is not None:
        return own
    words = (*container.command, *container.args)
    meant = bool(container.command) and (name in _OWN_PROGRAMS or not container.ports)
    if meant and shutil.which(words[0], path=path):
        return _run(container, words, f"real: {Path(words[0]).name} of this machine")
    if name in _SHELLS:
        note = "real: busybox of this machine" if name in {"busybox", "alpine"} else "real: programs of this machine"
        # Without a terminal, a shell ends at once, in a cluster too.
        return _run(container, words or ("sh",), note)
    return _stand_in(name, container)


def _from_archive(container: Container, image: Image) -> Program:
    """Run what the image says, replaced by command and args as in a cluster."""
    entrypoint = container.command or image.entrypoint
    arguments = container.args or (() if container.command else image.command)
    return Program(
        note=f"real: the image loaded from {image.source}",
        argv=(*entrypoint, *arguments),
        env={**image.env, **container.env},
        working_dir=container.working_dir or image.working_dir or "/",
        image=image.folder,
    )


def _own_program(name: str, container: Container, path: str) -> Program | None:
    """Return the real server of an image that is known, if the machine has it and the container does not do another."""
    if name == "nginx" and _runs(container, "nginx", "nginx-debug") and shutil.which("nginx", path=path):
        return _nginx(container)
    if name == "redis" and _runs(container, "redis-server") and shutil.which("redis-server", path=path):
        port = (_declared(container, "TCP") or (6379,))[0]
        options = ("--port", str(port), "--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", "/tmp")  # noqa: S108 - private to the pod
        return _run(container, ("redis-server", *options), "real: redis-server of this machine")
    return None


def _runs(container: Container, *programs: str) -> bool:
    """Return whether a container runs its image's own program: nothing else is named, or just that."""
    words = (*container.command, *container.args)
    return not words or words[0].startswith("-") or Path(words[0]).name in {*programs, "docker-entrypoint.sh"}


def _nginx(container: Container) -> Program:
    folder = OWN / "nginx" / container.name
    ipv6 = Path("/proc/net/if_inet6").exists()
    listen = "".join(
        f"        listen {port};\n" + (f"        listen [::]:{port};\n" if ipv6 else "")
        for port in _declared(container, "TCP") or (80,)
    )
    config = _NGINX.format(folder=folder, listen=listen)
    program = _run(container, ("nginx", "-c", f"{folder}/nginx.conf"), "real: nginx of this machine")
    files = {f"{folder}/nginx.conf": config, f"{folder}/html/index.html": WELCOME}
    return msgspec.structs.replace(program, files=files)


def _run(container: Container, argv: Sequence[str], note: str) -> Program:
    return Program(note=note, argv=tuple(argv), env=container.env, working_dir=container.working_dir or "/")


def _stand_in(name: str, container: Container) -> Program:
    tcp, udp = _declared(container, "TCP"), _declared(container, "UDP")
    if name == "nginx":
        stand_in = StandIn("page", tcp or (80,), udp)
    elif "app-on-two-ports" in name:
        stand_in = StandIn("two ports", tuple(dict.fromkeys((8000, 5000, *tcp))), udp)
    elif name == "redis":
        stand_in = StandIn("redis", tcp or (6379,), udp)
    else:
        stand_in = StandIn("echo", tcp or (() if udp else _DEFAULT_PORTS.get(name, ())), udp)
    return Program(note=_note(stand_in, container), stand_in=stand_in, env=container.env)


def _note(stand_in: StandIn, container: Container) -> str:
    ports = {"TCP": stand_in.tcp, "UDP": stand_in.udp}
    answers = [f"{kind} {', '.join(map(str, numbers))}" for kind, numbers in ports.items() if numbers]
    said = f"on {' and '.join(answers)}" if answers else "nothing, no port is declared"
    note = f"stand-in: answers {said}"
    if stand_in.answers == "two ports":
        note += ", 5000/metrics"
    impossible = _declared(container, "SCTP")
    return f"{note}; SCTP {', '.join(map(str, impossible))} is not supported" if impossible else note


def _declared(container: Container, protocol: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(port.number for port in container.ports if port.protocol == protocol))
