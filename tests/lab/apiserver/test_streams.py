# SPDX-License-Identifier: Apache-2.0
"""Commands, main processes and logs of pods as clients get them: by frames and requests, and with kubectl."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import select
import signal
import ssl
import struct
import subprocess
import termios
import threading
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import aiohttp
import pytest

from podfence.lab.access import Access, kubeconfig
from podfence.lab.apiserver.streams import channels
from podfence.lab.processes.spawner import Spawner
from tests.lab.apiserver.stub import Running, serving
from tests.lab.kubectl import KUBECTL, QUICKLY, needs_kubectl
from tests.lab.labs import PATIENCE, within
from tests.lab.pods import needs_pods

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Kubectl = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = needs_pods
NUMBERS = count()
T = TypeVar("T")
SUCCESS = {"metadata": {}, "status": "Success"}


class Server(NamedTuple):
    pods: Running
    access: Access
    loop: asyncio.AbstractEventLoop

    def wait(self, answer: Coroutine[Any, Any, T]) -> T:
        """Return what comes of something that clients do in their event loop."""
        return asyncio.run_coroutine_threadsafe(answer, self.loop).result(PATIENCE)

    def client(self) -> aiohttp.ClientSession:
        """Return a client that has the token and knows the authority."""
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cadata=self.access.authority))
        return aiohttp.ClientSession(
            self.access.server, connector=connector, headers={"Authorization": f"Bearer {self.access.token}"}
        )

    def start(self, script: str, **how: bool) -> str:
        """Start a pod that runs a script, and return its name."""
        name = f"pod-{next(NUMBERS)}"
        self.pods.start(name, script, **how)
        return name

    def path(self, pod: str, what: str) -> str:
        return f"/api/v1/namespaces/shop/pods/{pod}/{what}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Spawner.start() as spawner:
        pods = Running(spawner, tmp_path_factory.mktemp("logs"))
        with serving(pods) as access:
            # One event loop for all clients: TLS connections close a while after those who used them have ended.
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            yield Server(pods, access, loop)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()
        pods.close()


@pytest.fixture(scope="module")
def shell(server: Server) -> str:
    """A pod that does nothing."""
    return server.start("sleep 1000")


class Spoken(NamedTuple):
    """What a server sent over a WebSocket: the bytes of each channel, and the code with which it closed."""

    protocol: str | None
    frames: dict[int, bytes]
    close: int | None

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.frames[channels.STATUS])
        return found


def talk(
    server: Server, url: str, *sent: bytes, protocols: tuple[str, ...] = channels.PROTOCOLS, until: bytes = b""
) -> Spoken:
    """Do what `spoken` does."""
    return server.wait(spoken(server, url, *sent, protocols=protocols, until=until))


async def spoken(
    server: Server, url: str, *sent: bytes, protocols: tuple[str, ...] = channels.PROTOCOLS, until: bytes = b""
) -> Spoken:
    """Open a WebSocket, send frames, and return what comes until some output, or until the end."""
    frames: dict[int, bytes] = {}
    async with server.client() as client, client.ws_connect(url, protocols=protocols) as socket:
        for frame in sent:
            await socket.send_bytes(frame)
        async for message in socket:
            assert isinstance(message.data, bytes)
            frames[message.data[0]] = frames.get(message.data[0], b"") + message.data[1:]
            if until and until in frames.get(channels.STDOUT, b""):
                break
        return Spoken(socket.protocol, frames, socket.close_code)


def fetched(server: Server, url: str) -> tuple[int, str]:
    """Return the code and the text of an answer."""

    async def answer() -> tuple[int, str]:
        async with server.client() as client, client.get(url) as response:
            return response.status, await response.text()

    return server.wait(answer())


def stdin(data: bytes) -> bytes:
    return channels.frame(channels.STDIN, data)


END_OF_INPUT = bytes((channels.CLOSE, channels.STDIN))


class TestFrames:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b'{"Width":80,"Height":24}\n', (80, 24)),
            (b'{"Width":0,"Height":24}', None),
            (b'{"Width":70000,"Height":24}', None),
            (b'{"Width":"x","Height":24}', None),
            (b'{"Height":24}', None),
            (b"[]", None),
            (b"\xff", None),
            (b"", None),
        ],
    )
    def test_a_size_is_read_and_anything_else_is_not(self, data: bytes, expected: tuple[int, int] | None) -> None:
        assert channels.size(data) == expected

    @pytest.mark.parametrize("protocol", channels.PROTOCOLS)
    def test_a_command_answers_on_its_channels_and_ends_with_a_status(self, server: Server, shell: str, protocol: str) -> None:  # fmt: skip
        url = server.path(shell, "exec?command=sh&command=-c&command=echo out; echo err >%262; exit 7&stdout=true&stderr=true")  # fmt: skip
        found = talk(server, url, protocols=(protocol,))
        assert found.protocol == protocol
        assert (found.frames[channels.STDOUT], found.frames[channels.STDERR]) == (b"out\n", b"err\n")
        assert found.status == {
            "metadata": {},
            "status": "Failure",
            "message": "command terminated with non-zero exit code: command terminated with exit code 7",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
        }
        assert found.close == 1000

    def test_the_input_ends_with_version_5_and_not_with_version_4(self, server: Server, shell: str) -> None:
        url = server.path(shell, "exec?command=cat&stdin=true&stdout=true")
        found = talk(server, url, stdin(b"line\n"), END_OF_INPUT)
        assert (found.frames[channels.STDOUT], found.status) == (b"line\n", SUCCESS)
        url = server.path(shell, "exec?command=head&command=-n&command=2&stdin=true&stdout=true")
        found = talk(
            server, url, stdin(b"one\n"), END_OF_INPUT, stdin(b"two\nthree\n"), protocols=channels.PROTOCOLS[1:]
        )
        assert found.frames[channels.STDOUT] == b"one\ntwo\n"

    def test_only_the_streams_that_are_wanted_are_sent(self, server: Server, shell: str) -> None:
        found = talk(
            server, server.path(shell, "exec?command=sh&command=-c&command=echo out; echo err >%262&stderr=true")
        )
        assert found.frames == {channels.STDOUT: b"", channels.STDERR: b"err\n", channels.STATUS: json.dumps(SUCCESS, separators=(",", ":")).encode()}  # fmt: skip

    def test_much_output_arrives_whole(self, server: Server, shell: str) -> None:
        url = server.path(shell, "exec?command=head&command=-c&command=5000000&command=/dev/zero&stdout=true")
        assert len(talk(server, url).frames[channels.STDOUT]) == 5_000_000

    def test_output_of_children_that_stay_does_not_hold_up_the_end(self, server: Server, shell: str) -> None:
        url = server.path(shell, "exec?command=sh&command=-c&command=sleep 999 %26 echo out&stdout=true")
        assert talk(server, url).frames[channels.STDOUT] == b"out\n"

    def test_a_container_ends_while_a_child_in_a_session_of_its_own_prints_on(self, server: Server) -> None:
        pod = server.start("read a; setsid yes $(printf %01000d 0) & until pgrep -x yes; do :; done", stdin=True)
        assert talk(server, server.path(pod, "attach?stdin=true&stderr=true"), stdin(b"\n")).status == SUCCESS

    def test_a_command_ends_when_its_client_leaves(self, server: Server, shell: str) -> None:
        url = server.path(shell, "exec?command=sh&command=-c&command=echo started; exec sleep 4711&stdout=true")
        talk(server, url, until=b"started\n")
        url = server.path(shell, "exec?command=sh&command=-c&command=while pgrep -f 'sleep 471[1]'; do :; done&stdout=true")  # fmt: skip
        assert talk(server, url).status == SUCCESS

    def test_frames_that_make_no_sense_do_nothing(self, server: Server, shell: str) -> None:
        url = server.path(shell, "exec?command=cat&stdin=true&stdout=true")
        odd = (b"\x04nonsense", b"\x09what", bytes((channels.CLOSE, 7)), channels.frame(channels.STATUS, b"{}"))
        assert talk(server, url, *odd, stdin(b"x"), END_OF_INPUT).frames[channels.STDOUT] == b"x"

    def test_a_client_attaches_to_a_main_process(self, server: Server) -> None:
        pod = server.start("cat; exit 3", stdin=True, once=True)
        found = talk(server, server.path(pod, "attach?stdin=true&stdout=true"), stdin(b"typed\n"), END_OF_INPUT)
        assert (found.frames[channels.STDOUT], found.status) == (b"typed\n", SUCCESS)


class TestRefusals:
    @pytest.mark.parametrize(
        ("what", "code", "message"),
        [
            ("log?container=zz", 400, "container zz is not valid for pod {pod}"),
            ("log?previous=true", 400, 'previous terminated container "main" in pod "{pod}" not found'),
            ("log?tailLines=x", 400, "tailLines is a number, not 'x'"),
            ("log?tailLines=-1", 422, 'PodLogOptions "{pod}" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0'),
            ("log?limitBytes=0", 422, 'PodLogOptions "{pod}" is invalid: limitBytes: Invalid value: 0: must be greater than 0'),
            ("log?sinceSeconds=0", 422, 'PodLogOptions "{pod}" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0'),
            ("log?sinceTime=yesterday", 400, "sinceTime is a time such as 2026-11-29T16:00:00Z, not 'yesterday'"),
            ("exec?stdout=true", 400, "you must specify at least one command for the container"),
            ("exec?command=ls", 400, "you must specify at least 1 of stdin, stdout, stderr"),
            ("exec?command=ls&stdout=true", 400, "a lab serves this stream over WebSocket only"),
            ("attach?stdout=true", 400, "a lab serves this stream over WebSocket only"),
            ("portforward?ports=80", 404, "the server could not find the requested resource (podfence labs do not forward ports"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_said_in_a_status(self, server: Server, shell: str, what: str, code: int, message: str) -> None:  # fmt: skip
        found, text = fetched(server, server.path(shell, what))
        status = json.loads(text)
        assert (found, status["kind"], status["code"]) == (code, "Status", code)
        assert status["message"].startswith(message.format(pod=shell))

    def test_a_pod_that_does_not_exist_is_not_found(self, server: Server) -> None:
        for what in ("log", "exec?command=ls&stdout=true", "attach?stdout=true"):
            code, text = fetched(server, server.path("nope", what))
            assert (code, json.loads(text)["message"]) == (404, 'pods "nope" not found')

    def test_a_container_must_be_named_where_there_are_several(self, server: Server) -> None:
        containers = [{"name": "a"}, {"name": "b"}]
        pod = {"metadata": {"name": "two", "namespace": "shop"}, "spec": {"containers": containers, "initContainers": [{"name": "i"}]}}  # fmt: skip
        server.pods.store.create("pods", pod)
        message = json.loads(fetched(server, server.path("two", "log"))[1])["message"]
        assert message == "a container name must be specified for pod two, choose one of: [a b] or one of the init containers: [i]"  # fmt: skip

    def test_nobody_attaches_to_what_has_ended(self, server: Server) -> None:
        pod = server.start("exit 0")
        fetched(server, server.path(pod, "log?follow=true"))

        async def attach() -> int:
            async with server.client() as client:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await client.ws_connect(server.path(pod, "attach?stdout=true"), protocols=channels.PROTOCOLS)
                return refused.value.status

        assert server.wait(attach()) == 500
        # kubectl asks again without WebSocket then.
        again = fetched(server, server.path(pod, "attach?stdout=true"))
        assert again == (500, f"container main not found in pod {pod}_shop")

    def test_nothing_runs_in_a_completed_pod(self, server: Server) -> None:
        pod = server.start("exit 1")
        server.pods.set_phase(pod, "Failed")
        message = json.loads(fetched(server, server.path(pod, "exec?command=ls&stdout=true"))[1])["message"]
        assert message == "cannot exec into a container in a completed pod; current phase is Failed"


class TestLogs:
    def test_lines_can_be_chosen(self, server: Server) -> None:
        pod = server.start("echo one; echo two; printf three")
        assert fetched(server, server.path(pod, "log?follow=true")) == (200, "one\ntwo\nthree")
        assert fetched(server, server.path(pod, "log?tailLines=2")) == (200, "two\nthree")
        assert fetched(server, server.path(pod, "log?tailLines=0")) == (200, "")
        assert fetched(server, server.path(pod, "log?limitBytes=5")) == (200, "one\nt")
        assert fetched(server, server.path(pod, "log?sinceSeconds=3600")) == (200, "one\ntwo\nthree")
        assert fetched(server, server.path(pod, "log?sinceTime=2999-01-01T00:00:00Z")) == (200, "")
        stamped = fetched(server, server.path(pod, "log?timestamps=true"))[1].splitlines()
        assert [line.split("Z ")[1] for line in stamped] == ["one", "two", "three"]

    def test_following_ends_with_the_container_and_misses_nothing(self, server: Server) -> None:
        pod = server.start("read a; echo one; read a; echo two", stdin=True)
        server_log = server.path(pod, "log?follow=true")

        async def followed() -> str:
            async with server.client() as client, client.get(server_log) as response:
                await spoken(server, server.path(pod, "attach?stdin=true"), stdin(b"\n\n"))
                return await response.text()

        assert server.wait(followed()) == "one\ntwo\n"

    def test_following_ends_when_the_container_is_started_again(self, server: Server) -> None:
        pod = server.start("echo first")
        assert fetched(server, server.path(pod, "log?follow=true")) == (200, "first\n")
        server.pods.restart(pod, "echo second; sleep 1000")
        assert fetched(server, server.path(pod, "log?previous=true&follow=true")) == (200, "first\n")

    def test_a_follower_that_leaves_is_forgotten(self, server: Server, shell: str) -> None:
        async def left() -> None:
            timeout = aiohttp.ClientTimeout(sock_read=0.3)
            path = server.path(shell, "log?follow=true")
            async with server.client() as client, client.get(path, timeout=timeout) as response:
                with pytest.raises(aiohttp.ServerTimeoutError):
                    await response.text()

        server.wait(left())
        log = str(server.pods.folder / shell)
        assert within(lambda: log not in map(str, map(Path.resolve, Path("/proc/self/fd").iterdir())))


@pytest.fixture(scope="module")
def environ(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment by which kubectl finds the server."""
    folder = tmp_path_factory.mktemp("kubectl")
    (folder / "config").write_text(kubeconfig(server.access, "test"))
    return {"PATH": os.environ["PATH"], "KUBECONFIG": str(folder / "config"), "HOME": str(folder), **QUICKLY}


@pytest.fixture
def kubectl(environ: dict[str, str]) -> Kubectl:
    def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        command = (str(KUBECTL), "--namespace=shop", *words)
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environ)  # fmt: skip

    return run


@needs_kubectl
class TestKubectl:
    def test_exec_passes_output_and_exit_code(self, kubectl: Kubectl, shell: str) -> None:
        done = kubectl("exec", shell, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
        assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\ncommand terminated with exit code 7\n")

    def test_exec_passes_input(self, kubectl: Kubectl, shell: str) -> None:
        done = kubectl("exec", "-i", shell, "--", "cat", stdin="line 1\nline 2\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "line 1\nline 2\n", "")

    def test_exec_passes_much(self, kubectl: Kubectl, shell: str) -> None:
        done = kubectl("exec", "-i", shell, "--", "cat", stdin="0123456789" * 200_000)
        assert (done.returncode, len(done.stdout)) == (0, 2_000_000)

    def test_cp_copies_there_and_back(self, kubectl: Kubectl, shell: str, tmp_path: Path) -> None:
        (tmp_path / "there").write_text("content\n")
        assert kubectl("cp", str(tmp_path / "there"), f"shop/{shell}:/tmp/there").returncode == 0
        assert kubectl("cp", f"shop/{shell}:/tmp/there", str(tmp_path / "back")).returncode == 0
        assert (tmp_path / "back").read_text() == "content\n"

    def test_logs_are_printed_and_followed(self, kubectl: Kubectl, server: Server) -> None:
        pod = server.start("echo one; echo two")
        assert kubectl("logs", "-f", pod).stdout == "one\ntwo\n"
        assert kubectl("logs", pod, "--tail=1", "-c", "main").stdout == "two\n"
        times = kubectl("logs", pod, "--all-containers", "--timestamps", "--since=1h").stdout
        assert re.fullmatch(r"20\S+Z one\n20\S+Z two\n", times)
        done = kubectl("logs", pod, "--previous")
        assert done.stderr == f'Error from server (BadRequest): previous terminated container "main" in pod "{pod}" not found\n'  # fmt: skip

    def test_attach_joins_the_main_process(self, kubectl: Kubectl, server: Server) -> None:
        pod = server.start("cat; echo end", stdin=True, once=True)
        done = kubectl("attach", "-i", pod, "-q", stdin="typed\n")
        assert (done.returncode, done.stdout) == (0, "typed\nend\n")

    def test_what_is_refused_is_said(self, kubectl: Kubectl, shell: str) -> None:
        assert "container zz is not valid for pod" in kubectl("exec", "-c", "zz", shell, "--", "true").stderr
        assert "Unable to use a TTY" in kubectl("exec", "-it", shell, "--", "true").stderr
        assert kubectl("exec", "nope", "--", "true").stderr == 'Error from server (NotFound): pods "nope" not found\n'  # fmt: skip
        assert "podfence labs do not forward ports" in kubectl("port-forward", shell, "18080:80").stderr

    @pytest.mark.parametrize("verb", ["exec", "attach"])
    def test_a_terminal_is_one_on_both_sides(self, environ: dict[str, str], server: Server, verb: str) -> None:
        # The size comes a moment after the terminal, and so does a new one.
        script = "".join(f'until [ "$(stty size 2>&1)" = "{size}" ]; do :; done; echo got {size}; ' for size in ("24 80", "40 100"))  # fmt: skip
        script += "read a; exit 4"
        pod = server.start("sleep 1000" if verb == "exec" else script, stdin=True, tty=True)
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        words = ("exec", "-it", pod, "--", "sh", "-c", script) if verb == "exec" else ("attach", "-it", pod)
        command = ("setsid", "--ctty", str(KUBECTL), "--namespace=shop", *words)
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environ) as client:
            os.close(slave)
            screen = shown(master, "got 24 80", "")
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
            client.send_signal(signal.SIGWINCH)
            screen = shown(master, "got 40 100", screen)
            os.write(master, b"\r")
            assert client.wait(PATIENCE) == (4 if verb == "exec" else 0)
        os.close(master)


def shown(master: int, text: str, screen: str) -> str:
    """Return what a terminal shows when it shows some text, or when it is closed."""
    while text not in screen:
        assert select.select([master], [], [], PATIENCE)[0], screen
        try:
            screen += os.read(master, 65536).decode()
        except OSError:
            break
    return screen
