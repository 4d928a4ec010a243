# SPDX-License-Identifier: Apache-2.0
"""A real API server with an etcd of its own, on loopback ports, and nothing beside: no controllers and no nodes."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.lab.apiserver.serving import TOKEN, Client, make_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS: Final = ("etcd", "kube-apiserver")
_PATIENCE: Final = 120.0


def missing(folder: Path) -> list[str]:
    """Return which of the programs are not in a folder."""
    return [name for name in PROGRAMS if not folder.joinpath(name).exists()]


@contextlib.contextmanager
def real_server(folder: Path) -> Iterator[Client]:
    """Run the programs of a folder until the end of the block, and give a client who may do everything."""
    with tempfile.TemporaryDirectory(prefix="podfence-") as name, contextlib.ExitStack() as stack:
        place = Path(name)
        etcd, peer, port = _free_ports(3)
        stack.enter_context(
            _running(
                place,
                *(str(folder / "etcd"), "--data-dir", str(place / "etcd"), "--unsafe-no-fsync"),
                *("--listen-client-urls", etcd_url(etcd), "--advertise-client-urls", etcd_url(etcd)),
                *("--listen-peer-urls", etcd_url(peer), "--initial-advertise-peer-urls", etcd_url(peer)),
                *("--initial-cluster", f"default={etcd_url(peer)}"),
            )
        )
        server = stack.enter_context(_running(place, str(folder / "kube-apiserver"), *_settings(place, etcd, port)))
        client = Client(port, make_certificates().authority)
        stack.callback(client.close)
        _await(client, server, place)
        yield client


def etcd_url(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _settings(place: Path, etcd: int, port: int) -> list[str]:
    """Return the arguments of the server."""
    made = make_certificates()
    for name, text in (
        ("server.crt", made.certificate),
        ("server.key", made.key),
        ("tokens", f"{TOKEN},me,1,system:masters\n"),
    ):
        place.joinpath(name).write_text(text, encoding="ascii")
    key = place / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    return [
        f"--etcd-servers={etcd_url(etcd)}",
        *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}"),
        *(f"--tls-cert-file={place / 'server.crt'}", f"--tls-private-key-file={place / 'server.key'}"),
        *(f"--token-auth-file={place / 'tokens'}", "--authorization-mode=AlwaysAllow"),
        *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}"),
        *(f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.96.0.0/16"),
        "--endpoint-reconciler-type=none",
    ]


@contextlib.contextmanager
def _running(place: Path, program: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    log = place / f"{Path(program).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, *arguments], stdout=output, stderr=output, cwd=place)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(client: Client, server: subprocess.Popen[bytes], place: Path) -> None:
    end = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(OSError):
            if client.send("GET", "/readyz").code == 200:
                return
        client.close()
        if server.poll() is not None or time.monotonic() > end:
            raise RuntimeError(place.joinpath("kube-apiserver.log").read_text(encoding="utf-8")[-2000:])
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.2)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [opened.getsockname()[1] for opened in sockets]
