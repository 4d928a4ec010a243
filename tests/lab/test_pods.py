# SPDX-License-Identifier: Apache-2.0
"""Pods are processes in namespaces of their own, with files, containers and commands as in a cluster."""

from __future__ import annotations

import os
import pty
import queue
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from podfence.lab.connection import Connection
from podfence.lab.errors import LabError
from podfence.lab.objects.containers import Container
from podfence.lab.processes import archive
from podfence.lab.processes.catalog import choose
from podfence.lab.processes.holder import SourcePorts, previous
from podfence.lab.processes.probing import FIRST_PORT, LAST_PORT, Probe
from podfence.lab.processes.program import Program, StandIn
from podfence.lab.processes.spawner import Spawner
from tests.lab.images import BUSYBOX_CONFIG, busybox, docker
from tests.lab.labs import within
from tests.lab.pods import ADDRESS, ADDRESS_6, in_network, in_pod, needs_pods, printed, spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from podfence.lab.processes.holder import Holder

pytestmark = needs_pods
NUMBERS = count()
PATIENCE = 120.0
"""Seconds after which what must come is said not to."""
SLEEP = Program("test", argv=("sleep", "1000"))


@pytest.fixture
def pod(spawner: Spawner) -> Iterator[Holder]:
    """A pod with addresses of its own, where packets to port 7 and echo requests to 10.9.0.2 are lost."""
    # Without search domains, a name that does not exist is asked for once.
    made = spawner.pod(msgspec.structs.replace(spec("web"), dns_search=(), dns_options=()))
    drop = "add table inet t; add chain inet t in { type filter hook input priority 0; }; "
    drop += "add rule inet t in meta l4proto { tcp, udp } th dport 7 drop; add rule inet t in ip daddr 10.9.0.2 drop; add rule inet t in ip6 daddr fd00:9::2 icmpv6 type echo-request drop"  # fmt: skip
    in_network(made, "ip", "link", "set", "lo", "up")
    addresses = ([ADDRESS], ["10.9.0.2"], [ADDRESS_6, "nodad"], ["fd00:9::2", "nodad"])
    for command in (*(["ip", "addr", "add", *address, "dev", "lo"] for address in addresses), ["nft", drop]):
        in_network(made, *command)
    yield made
    made.close()


class Started:
    """A container of a test: its log, and its exit code once it ended."""

    def __init__(self, pod: Holder, program: Program, log: Path, name: str = "main") -> None:
        self.log = log
        self.ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        pod.start_container(name, program, log, self.ended.put)

    def code(self) -> int:
        return self.ended.get(timeout=PATIENCE)


def wait_for(condition: Callable[[], object]) -> None:
    """Return when a condition holds; every look at it takes a process in a pod, so nobody spins."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came true"


def serve(pod: Holder, program: Program, log: Path, *ports: int) -> None:
    """Start a server and return when it answers."""
    pod.start_container(f"server-{next(NUMBERS)}", program, log)
    probes = [Probe("tcp", "", ADDRESS, port) for port in ports]
    wait_for(lambda: pod.probe(probes) == ["open"] * len(probes))


# What a pod sees


def test_a_pod_has_the_names_and_the_resolver_of_its_specification(spawner: Spawner) -> None:
    made = spawner.pod(spec("shop-1"))
    assert in_pod(made, "hostname; cat /etc/hostname").stdout == b"shop-1\nshop-1\n"
    assert in_pod(made, "cat /etc/resolv.conf").stdout == b"search shop.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"  # fmt: skip
    assert f"{ADDRESS}\tshop-1\n".encode() in in_pod(made, "cat /etc/hosts").stdout
    made.close()


def test_a_pod_has_namespaces_of_its_own_and_its_pid_leads_there(spawner: Spawner) -> None:
    made = spawner.pod(spec("own"))
    for kind in ("net", "uts", "ipc", "mnt", "pid"):
        inside = in_pod(made, f"readlink /proc/self/ns/{kind}").stdout.decode().strip()
        assert inside != str(Path(f"/proc/self/ns/{kind}").readlink())
        assert inside == str(Path(f"/proc/{made.pid}/ns/{kind}").readlink())
    assert in_pod(made, "ip -o link").stdout.count(b"\n") == 1
    made.close()


def test_the_machine_is_read_only_and_private_places_are_private(spawner: Spawner, pod: Holder) -> None:
    other = spawner.pod(spec("other"))
    refused = in_pod(pod, "touch /etc/mark /usr/mark")
    assert refused.code == 1
    assert refused.stderr.count(b"Read-only file system") == 2
    for place in ("/tmp", "/run", "/var/log", "/var/tmp", "/dev/shm"):  # noqa: S108 - the pod's
        assert in_pod(pod, f"touch {place}/mark").code == 0
        assert in_pod(other, f"ls {place}/mark").code == 1
        assert not Path(place, "mark").exists()
    other.close()


def test_a_pod_on_the_host_network_shares_its_node_s(spawner: Spawner) -> None:
    node = spawner.holder("node-1")
    made = spawner.pod(spec("agent", host_network=True), join=node)
    look = "readlink /proc/self/ns/net"
    assert in_pod(made, look).stdout == in_pod(node, look).stdout
    assert in_pod(made, "hostname").stdout == b"agent\n"
    in_network(node, "ip", "addr", "add", "10.1.1.1", "dev", "lo")
    assert b"10.1.1.1" in in_pod(made, "ip addr").stdout
    made.close()
    assert b"10.1.1.1" in in_pod(node, "ip addr").stdout
    node.close()


def test_a_pod_that_is_gone_leaves_no_open_file(spawner: Spawner) -> None:
    def files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    node = spawner.holder("node-1")
    before = files()
    for host_network in (False, True):
        spawner.pod(spec("gone", host_network=host_network), join=node if host_network else None).close()
    assert within(lambda: files() == before)
    node.close()


# Containers


def test_a_container_s_output_is_logged_and_its_exit_code_told(pod: Holder, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "echo out $NAME $HOSTNAME $PWD; echo error >&2; exit 3"
    program = Program("test", argv=("sh", "-c", script), env={"NAME": "value"}, working_dir="/usr")
    assert Started(pod, program, log).code() == 3
    assert printed(log) == f"out value {pod.name} /usr\nerror\n"
    assert Started(pod, program, log).code() == 3
    ((name, (starts, code, began, ended)),) = pod.containers().items()
    assert (name, starts, code, began <= ended) == ("main", 2, 3, True)


def test_the_log_is_that_of_the_last_start_and_the_one_before_is_kept(pod: Holder, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for number in range(3):
        Started(pod, Program("test", argv=("sh", "-c", f"echo {number}")), log).code()
    assert (printed(log), printed(previous(log))) == ("2\n", "1\n")


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        (Program("test", argv=("/no/such",)), 127, 'exec: "/no/such": executable file not found in $PATH\n'),
        (Program("test", argv=("/etc/hosts",)), 126, 'exec: "/etc/hosts": Permission denied\n'),
        (Program("test"), 127, "no command: the image has none, and the container names none\n"),
        (Program("test", argv=("true",), working_dir="/no/such"), 126, "working directory /no/such: No such file or directory\n"),
        (Program("test", stand_in=StandIn("echo", (80, 80))), 1, "port 80: Address already in use\n"),
    ],
)  # fmt: skip
def test_a_container_that_cannot_start_says_why(pod: Holder, tmp_path: Path, program: Program, code: int, said: str) -> None:  # fmt: skip
    started = Started(pod, program, tmp_path / "log")
    assert started.code() == code
    assert printed(started.log) == said


def test_a_container_that_a_signal_ends_has_an_exit_code_too(pod: Holder, tmp_path: Path) -> None:
    started = Started(pod, SLEEP, tmp_path / "log")
    assert in_pod(pod, ["true"]).code == 0
    assert pod.containers()["main"].exit is None
    os.kill(children(pod.pid)[0], signal.SIGTERM)
    assert started.code() == 128 + signal.SIGTERM
    assert in_pod(pod, ["true"]).code == 0


def test_a_container_is_asked_to_end_and_may_say_no(pod: Holder, tmp_path: Path) -> None:
    asked = "trap 'echo asked; {}' TERM; echo ready; while true; do sleep 0.05; done"
    for name, answer in (("polite", "exit 3"), ("stubborn", "true")):
        pod.start_container(name, Program("sh", argv=("sh", "-c", asked.format(answer))), tmp_path / name)
    assert within(lambda: all(printed(tmp_path / name) == "ready\n" for name in ("polite", "stubborn")))
    pod.terminate()
    assert within(lambda: all("asked" in printed(tmp_path / name) for name in ("polite", "stubborn")))
    assert within(lambda: pod.containers()["polite"].exit == 3)
    assert (pod.containers()["stubborn"].exit, pod.runs()) == (None, True)


def test_what_a_container_leaves_running_ends_with_it(pod: Holder, tmp_path: Path) -> None:
    started = Started(pod, Program("test", argv=("sh", "-c", "sleep 1000 & exit 0")), tmp_path / "log")
    assert started.code() == 0
    wait_for(lambda: b"sleep" not in in_pod(pod, "ps").stdout)


def test_orphans_are_buried(pod: Holder) -> None:
    assert in_pod(pod, "(sh -c 'exit 0' & exec sleep 0) & wait").code == 0
    wait_for(lambda: b"Z" not in in_pod(pod, "ps -o stat").stdout)


def test_what_loops_is_ended_with_its_pod(spawner: Spawner, tmp_path: Path) -> None:
    made = spawner.pod(spec("busy"))
    started = Started(made, SLEEP, tmp_path / "log")
    assert in_pod(made, "pidof sleep").code == 0
    processes = [os.pidfd_open(pid) for pid in children(made.pid)]
    assert len(processes) == 1
    made.close()
    assert not Path(f"/proc/{made.pid}").exists()
    for process in processes:
        with pytest.raises(ProcessLookupError):
            signal.pidfd_send_signal(process, 0)
        os.close(process)
    assert started.ended.empty()
    with pytest.raises(LabError, match="busy has ended"):
        made.execute(["true"], (0, 1, 2))
    made.close()


def test_an_init_that_is_killed_is_told_as_the_end_of_its_containers(spawner: Spawner, tmp_path: Path) -> None:
    made = spawner.pod(spec("killed"))
    started = Started(made, SLEEP, tmp_path / "log")
    with made.execute(["sleep", "1000"], (0, 1, 2)) as execution:
        os.kill(made.pid, signal.SIGKILL)
        assert started.code() == 128 + signal.SIGKILL
        with pytest.raises(LabError, match="killed ended before it answered"):
            execution.wait()
    made.close()


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# Commands


def test_commands_have_their_exit_code_and_the_container_s_environment(pod: Holder, tmp_path: Path) -> None:
    program = Program("test", argv=("sleep", "1000"), env={"NAME": "value"}, working_dir="/usr")
    Started(pod, program, tmp_path / "log")
    assert in_pod(pod, "echo $NAME; pwd; cat; echo no >&2; exit 5", stdin=b"given\n") == (5, b"value\n/usr\ngiven\n", b"no\n")  # fmt: skip
    assert in_pod(pod, "kill -9 $$").code == 137
    assert in_pod(pod, ["nosuch"]) == (127, b"", b'exec: "nosuch": executable file not found in $PATH\n')
    with pytest.raises(LabError, match="container other is not running"):
        in_pod(pod, ["true"], container="other")


def test_a_command_gets_input_that_is_larger_than_any_buffer(pod: Holder) -> None:
    data = os.urandom(2_000_000)
    assert in_pod(pod, ["cat"], stdin=data) == (0, data, b"")


def test_a_command_gets_a_terminal_of_its_own(pod: Holder) -> None:
    ours, theirs = pty.openpty()
    with pod.execute(["sh", "-c", "test -t 0 && echo mine >/dev/tty"], (theirs,) * 3, tty=True) as execution:
        assert execution.wait() == 0
    assert os.read(ours, 100) == b"mine\r\n"
    with pod.execute(["sh", "-c", "echo ready; exec sleep 1000"], (theirs,) * 3, tty=True) as execution:
        said = b""
        while said != b"ready\r\n":
            said += os.read(ours, 100)
            assert b"ready\r\n".startswith(said)
        os.write(ours, b"\x03")
        assert execution.wait() == 128 + signal.SIGINT
    os.close(ours)
    os.close(theirs)


def test_a_command_ends_when_nobody_waits_for_it(pod: Holder) -> None:
    here, there = socket.socketpair()
    with pod.execute(["sh", "-c", "sleep 1000; true"], (0, 1, 2)) as execution:
        wait_for(lambda: b"sleep" in in_pod(pod, "ps").stdout.replace(b"sleep 1000;", b""))
        there.close()
        with Connection(here) as asker:
            assert execution.wait(asker) == 128 + signal.SIGKILL
    wait_for(lambda: b"sleep" not in in_pod(pod, "ps").stdout)


# Programs and stand-ins, seen with the tools that people use


@pytest.mark.parametrize(
    ("image", "port", "command", "printed"),
    [
        ("nginx", 80, "wget -qO- --timeout=30 http://web", "<h1>Welcome to nginx!</h1>"),
        ("redis:7", 6379, "echo PING | nc -w 2 web 6379", "+PONG"),
        ("app-on-two-ports", 8000, "wget -qO- --timeout=30 http://web:8000", "Hello"),
        ("app-on-two-ports", 5000, "wget -qO- -T 30 http://web:5000/metrics", "http.requests=3\ngo.goroutines=5\ngo.cpus=4\n"),
        ("mongo", 27017, "wget -qO- -T30 web:27017", "port 27017\n"),
        ("mongo", 27017, "echo anything | nc -w 1 web 27017", "anything\n"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("real", [True, False], ids=["machine's", "stand-in"])
def test_images_answer_as_people_expect(pod: Holder, tmp_path: Path, image: str, port: int, command: str, printed: str, real: bool) -> None:  # fmt: skip
    program = choose(Container("main", image), {}, f"{os.environ['PATH']}:/usr/sbin" if real else "/nonexistent")
    serve(pod, program, tmp_path / "log", port)
    # What nc does not hear in the seconds that it has, it is asked for again.
    wait_for(lambda: printed in in_pod(pod, command).stdout.decode())


def test_udp_is_answered_with_what_was_asked(pod: Holder, tmp_path: Path) -> None:
    pod.start_container("main", Program("test", stand_in=StandIn("echo", (), (53,))), tmp_path / "log")
    wait_for(lambda: pod.probe([Probe("udp", "", ADDRESS, 53), Probe("udp", "", ADDRESS_6, 53)]) == ["open"] * 2)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("wget -qO- --timeout=1 http://web:7", 1, "wget: download timed out\n"),
        ("wget -q -O- -T1 web:7", 1, "wget: download timed out\n"),
        ("wget -qO- -T 1 http://shop", 1, "wget: bad address 'shop'\n"),
        ("wget -qO- http://shop:80", 1, "wget: bad address 'shop:80'\n"),
        ("wget -qO- --timeout 30 http://web:1", 1, f"wget: can't connect to remote host ({ADDRESS}): Connection refused\n"),
        ("nc -w 1 web 7", 1, "nc: timed out\n"),
        ("nc -zv -w 1 web 7", 1, "nc: timed out\n"),
        ("nc -w 1 shop 7", 1, "nc: bad address 'shop'\n"),
        ("ping -c 1 -W 1 shop", 1, "ping: bad address 'shop'\n"),
    ],
)  # fmt: skip
def test_tools_say_what_the_documents_show(pod: Holder, command: str, code: int, said: str) -> None:
    assert in_pod(pod, command) == (code, b"", said.encode())


def test_the_shell_is_busybox_s_also_by_its_path(pod: Holder, tmp_path: Path) -> None:
    says = "readlink /proc/$$/exe"
    assert Path(in_pod(pod, ["/bin/sh", "-c", says]).stdout.decode().strip()).name == "busybox"
    started = Started(pod, Program("test", argv=("/bin/sh", "-c", says)), tmp_path / "log")
    assert started.code() == 0
    assert printed(started.log).strip().endswith("busybox")


def test_ping_shows_what_is_lost_and_what_is_not(pod: Holder) -> None:
    assert b" 0% packet loss" in in_pod(pod, "ping -c 1 -W 30 web").stdout
    assert b"100% packet loss" in in_pod(pod, "ping -c 1 -W 1 10.9.0.2").stdout
    assert b" 0% packet loss" in in_pod(pod, f"ping -c 1 -W 30 {ADDRESS_6}").stdout


def test_an_open_port_is_said_to_be_open(pod: Holder, tmp_path: Path) -> None:
    serve(pod, Program("test", stand_in=StandIn("echo", (80,))), tmp_path / "log", 80)
    assert in_pod(pod, "nc -zv -w 2 web 80") == (0, b"", f"web ({ADDRESS}:80) open\n".encode())
    assert in_pod(pod, "echo said | nc -v -w 2 web 80") == (0, b"said\n", f"web ({ADDRESS}:80) open\n".encode())


# Images from archives


def test_an_image_s_container_has_the_image_as_its_root(spawner: Spawner, pod: Holder, tmp_path: Path) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(docker({"hello": [busybox()]}, BUSYBOX_CONFIG))
    with file.open("rb") as content:
        (image,) = archive.load(content, str(file), spawner.store)
    program = choose(Container("main", "hello"), {"hello:latest": image}, "")
    started = Started(pod, program, tmp_path / "log")
    wait_for(lambda: in_pod(pod, ["/bin/ls", "/"]) and printed(started.log))
    assert printed(started.log) == "hello from /work\n"
    assert in_pod(pod, ["ls", "/"]).stdout.split() == [b"bin", b"dev", b"etc", b"lib", b"lib64", b"proc", b"run", b"sys", b"tmp", b"work"]  # fmt: skip
    assert in_pod(pod, ["cat", "/etc/resolv.conf"]).stdout == b"nameserver 10.96.0.10\n"
    assert in_pod(pod, ["ls", "/dev/null", "/proc/1/status"]).code == 0
    assert in_pod(pod, "touch mark; echo x >/dev/null; cat mark").code == 0
    os.kill(children(pod.pid)[0], signal.SIGKILL)
    assert started.code() == 137
    with pytest.raises(LabError, match="container main is not running"):
        in_pod(pod, ["true"])
    again = Started(pod, program, tmp_path / "log")
    assert in_pod(pod, ["/bin/ls", "/work"]).stdout == b""
    assert not (spawner.store / image.folder / "work/mark").exists()
    assert again.ended.empty()


# Probes


def test_probes_tell_open_from_refused_from_lost(pod: Holder, tmp_path: Path) -> None:
    serve(pod, Program("test", stand_in=StandIn("echo", (80,), (80,))), tmp_path / "log", 80)
    outcomes: dict[Probe, str] = {}
    for address, unheard in ((ADDRESS, "10.9.0.2"), (ADDRESS_6, "fd00:9::2")):
        outcomes |= {
            Probe("tcp", address, address, 80): "open",
            Probe("udp", address, address, 80): "open",
            Probe("icmp", address, address, 0): "open",
            Probe("tcp", address, address, 81, expected=False): "refused",
            Probe("udp", address, address, 81, expected=False): "refused",
            Probe("tcp", address, address, 7, expected=False): "timeout",
            Probe("udp", address, address, 7, expected=False): "timeout",
            Probe("icmp", address, unheard, 0, expected=False): "timeout",
        }
    assert pod.probe(list(outcomes)) == list(outcomes.values())


def test_a_probe_that_cannot_leave_says_why(pod: Holder) -> None:
    assert pod.probe([Probe("tcp", "", "192.0.2.1", 80)]) == ["error: Network is unreachable"]
    assert pod.probe([]) == []


def test_any_address_can_be_the_source_of_a_probe(pod: Holder, tmp_path: Path) -> None:
    serve(pod, Program("test", stand_in=StandIn("echo", (80,))), tmp_path / "log", 80)
    in_network(pod, "ip", "route", "add", "local", "198.51.100.0/24", "dev", "lo")
    sources = [f"198.51.100.{number}" for number in range(1, 100)]
    assert pod.probe([Probe("tcp", source, ADDRESS, 80) for source in sources]) == ["open"] * len(sources)


def test_thousands_of_probes_go_at_once(pod: Holder, tmp_path: Path) -> None:
    serve(pod, Program("test", stand_in=StandIn("echo", (80,))), tmp_path / "log", 80)
    probes = [Probe("tcp", "", ADDRESS, 80 if number % 2 else 7, expected=bool(number % 2)) for number in range(5000)]
    assert pod.probe(probes) == ["timeout", "open"] * 2500


def test_source_ports_are_not_used_again_before_all_were() -> None:
    ports = SourcePorts()
    probes = [Probe("tcp", "", "10.0.0.1", 80)] * 100
    seen: set[int] = set()
    while (first := ports.take(probes)["tcp "]) + 100 < LAST_PORT and first not in seen:
        assert seen.isdisjoint(range(first, first + 100))
        seen.update(range(first, first + 100))
    assert len(seen) > 30_000
    assert ports.take([Probe("udp", "", "10.0.0.1", 80)]) == {"udp ": FIRST_PORT}


# Many, and the end


def test_many_pods_start_at_once_from_several_threads(spawner: Spawner) -> None:
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda number: spawner.pod(spec(f"many-{number}")), range(50)))
    assert len({str(Path(f"/proc/{item.pid}/ns/net").readlink()) for item in made}) == 50
    assert [in_pod(item, ["hostname"]).stdout.decode().strip() for item in made] == [f"many-{number}" for number in range(50)]  # fmt: skip
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda item: item.close(), made))


def test_closing_the_spawner_ends_everything(tmp_path: Path) -> None:
    with Spawner.start() as started:
        pids = [started.holder("node-1").pid, started.pod(spec("web")).pid]
        store = started.store
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not store.exists()
    with pytest.raises(LabError, match="the process that starts pods has ended"):
        started.pod(spec("late"))
