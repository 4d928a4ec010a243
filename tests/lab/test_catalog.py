# SPDX-License-Identifier: Apache-2.0
"""An image's name decides what a container runs, and whether that is the real thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.kube.objects import ContainerPort
from podfence.lab.objects.containers import Container
from podfence.lab.processes.archive import Image, reference
from podfence.lab.processes.catalog import choose, short_name
from podfence.lab.processes.program import StandIn

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Return a PATH with all programs that the catalogue knows, and sleep."""
    for name in ("nginx", "redis-server", "dnsmasq", "sleep"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return str(tmp_path)


def ports(*numbers: int | str) -> tuple[ContainerPort, ...]:
    return tuple(ContainerPort(item) if isinstance(item, int) else ContainerPort(int(item[1:]), {"u": "UDP", "s": "SCTP"}[item[0]]) for item in numbers)  # type: ignore[arg-type] # fmt: skip


@pytest.mark.parametrize(
    ("image", "full", "short"),
    [
        ("nginx", "nginx:latest", "nginx"),
        ("docker.io/library/nginx:1.27", "nginx:1.27", "nginx"),
        ("registry.example:5000/team/app", "registry.example:5000/team/app:latest", "app"),
        ("app@sha256:0123", "app@sha256:0123", "app"),
        ("registry.k8s.io/coredns/coredns:v1.11.1", "registry.k8s.io/coredns/coredns:v1.11.1", "coredns"),
    ],
)
def test_names_of_images_are_read(image: str, full: str, short: str) -> None:
    assert reference(image) == full
    assert short_name(image) == short


@pytest.mark.parametrize(
    ("container", "argv", "note"),
    [
        (Container("c", "busybox"), ("sh",), "real: busybox of this machine"),
        (Container("c", "alpine:3", ("sleep", "3600")), ("sleep", "3600"), "real: sleep of this machine"),
        (Container("c", "busybox", (), ("nc", "-l")), ("nc", "-l"), "real: busybox of this machine"),
        (Container("c", "ubuntu:24.04"), ("sh",), "real: programs of this machine"),
        (Container("c", "nginx", ("sleep", "9")), ("sleep", "9"), "real: sleep of this machine"),
        (Container("c", "unknown/app", ("sleep", "9")), ("sleep", "9"), "real: sleep of this machine"),
    ],
)
def test_commands_run_where_the_machine_has_them(container: Container, argv: tuple[str, ...], note: str, path: str) -> None:  # fmt: skip
    program = choose(container, {}, path)
    assert (program.argv, program.stand_in, program.note) == (argv, None, note)


@pytest.mark.parametrize(
    ("container", "stand_in", "note"),
    [
        (Container("c", "x/app-on-two-ports:v1"), StandIn("two ports", (8000, 5000)), "answers on TCP 8000, 5000, 5000/metrics"),
        (Container("c", "postgres:16"), StandIn("echo", (5432,)), "answers on TCP 5432"),
        (Container("c", "mysql", ports=ports(13306)), StandIn("echo", (13306,)), "answers on TCP 13306"),
        (Container("c", "x/y", ports=ports(80, "u53", 80)), StandIn("echo", (80,), (53,)), "answers on TCP 80 and UDP 53"),
        (Container("c", "x/y", ("sleep", "9"), ports=ports(80)), StandIn("echo", (80,)), "answers on TCP 80"),
        (Container("c", "x/y", ("/server",)), StandIn("echo"), "answers nothing, no port is declared"),
        (Container("c", "x/y", ports=ports("s36412")), StandIn("echo"), "no port is declared; SCTP 36412 is not supported"),
    ],
)  # fmt: skip
def test_stand_ins_answer_for_the_rest(container: Container, stand_in: StandIn, note: str, path: str) -> None:
    program = choose(container, {}, path)
    assert program.stand_in == stand_in
    assert program.note.startswith("stand-in: ")
    assert program.note.endswith(note)


def test_servers_are_real_where_the_machine_has_them(path: str) -> None:
    nginx = choose(Container("web", "nginx:1.27", args=("nginx", "-g", "daemon off;"), ports=ports(8080)), {}, path)
    assert nginx.note == "real: nginx of this machine"
    assert "listen 8080;" in nginx.files[nginx.argv[-1]]
    redis = choose(Container("db", "redis:7"), {}, path)
    assert redis.argv[:3] == ("redis-server", "--port", "6379")


def test_servers_have_stand_ins_where_it_has_not() -> None:
    assert choose(Container("web", "nginx", ports=ports(8080)), {}, "/nonexistent").stand_in == StandIn("page", (8080,))
    assert choose(Container("db", "bitnami/redis"), {}, "/nonexistent").stand_in == StandIn("redis", (6379,))


def test_coredns_is_the_server_of_names_that_the_lab_has(path: str) -> None:
    container = Container("coredns", "registry.k8s.io/coredns/coredns:v1.11.1", args=("-conf", "/etc/coredns/Corefile"))
    program = choose(container, {}, path, ("dnsmasq", "--no-daemon"))
    assert program.argv == ("dnsmasq", "--no-daemon")
    assert program.note.startswith("stand-in: dnsmasq")


def test_a_loaded_image_comes_first_and_command_and_args_replace_its_own(path: str) -> None:
    image = Image(("nginx:latest",), "images/1", "nginx.tar", ("/entry",), ("serve",), {"A": "1", "B": "1"}, "/srv")
    loaded = {"nginx:latest": image}
    plain = choose(Container("c", "docker.io/nginx", env={"B": "2"}), loaded, path)
    assert (plain.argv, plain.image, plain.working_dir) == (("/entry", "serve"), "images/1", "/srv")
    assert plain.env == {"A": "1", "B": "2"}
    assert plain.note == "real: the image loaded from nginx.tar"
    assert choose(Container("c", "nginx", args=("x",)), loaded, path).argv == ("/entry", "x")
    assert choose(Container("c", "nginx", ("y",)), loaded, path).argv == ("y",)
    assert choose(Container("c", "nginx:1.27"), loaded, path).image == ""
