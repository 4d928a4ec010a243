# SPDX-License-Identifier: Apache-2.0
"""Connections are made as the access says, tried with a real server; nothing secret is left on disk."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from podfence.errors import AccessError
from podfence.kube.access import tls
from podfence.kube.access.access import Pair, Secret
from podfence.kube.access.credentials import Credentials
from tests.kube.access.kubeconfigs import of, single

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.kube.access.access import Access

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")


class Authority(NamedTuple):
    folder: Path

    def issue(self, name: str, *options: str) -> tuple[str, str]:
        """Return the paths of a new certificate of this authority and of its key."""
        crt, key = str(self.folder / f"{name}.crt"), str(self.folder / f"{name}.key")
        ca = str(self.folder / "ca")
        openssl(
            *NEW_KEY,
            "-keyout",
            key,
            "-out",
            crt,
            "-subj",
            f"/CN={name}",
            "-CA",
            f"{ca}.crt",
            "-CAkey",
            f"{ca}.key",
            *options,
        )
        return crt, key

    @property
    def certificate(self) -> str:
        return str(self.folder / "ca.crt")


NEW_KEY = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "2")


def openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    openssl(*NEW_KEY, "-keyout", str(folder / "ca.key"), "-out", str(folder / "ca.crt"), "-subj", "/CN=authority")
    made = Authority(folder)
    made.issue("server", "-addext", "subjectAltName=IP:127.0.0.1,DNS:kubernetes")
    made.issue("client")
    made.issue("other")
    return made


@contextmanager
def server(authority: Authority, crt: str = "server.crt") -> Iterator[int]:
    """Serve on a port: say who the client's certificate is of, to one client after the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / crt, authority.folder / crt.replace(".crt", ".key"))
    context.load_verify_locations(authority.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    peer: Any = wrapped.getpeercert()
                    wrapped.sendall(
                        dict(part[0] for part in peer["subject"])["commonName"].encode() if peer else b"nobody"
                    )
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def connect(access: Access, pair: Pair | None = None) -> str:
    """Return whom the server takes us for."""
    context = tls.context(access, pair)
    address = (access.server.host, access.server.port)
    with (
        socket.create_connection(address, timeout=120) as connection,
        context.wrap_socket(connection, server_hostname=access.server_name or access.server.host) as wrapped,
    ):
        assert wrapped.version() in ("TLSv1.2", "TLSv1.3")
        return wrapped.recv(100).decode()


def encoded(path: Path | str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()


def to(tmp_path: Path, port: int, **cluster: object) -> Access:
    return of(single(tmp_path / "config", cluster={"server": f"https://127.0.0.1:{port}", **cluster}))


@pytest.mark.parametrize("form", ["file", "data"])
def test_the_server_is_verified_and_the_client_proven(tmp_path: Path, authority: Authority, form: str) -> None:
    crt, key = authority.folder / "client.crt", authority.folder / "client.key"
    if form == "file":
        cluster = {"certificate-authority": authority.certificate}
        user = {"client-certificate": str(crt), "client-key": str(key)}
    else:
        cluster = {"certificate-authority-data": encoded(authority.certificate)}
        user = {"client-certificate-data": encoded(crt), "client-key-data": encoded(key)}
    with server(authority) as port:
        access = of(single(tmp_path / "config", user=user, cluster={"server": f"https://127.0.0.1:{port}"} | cluster))
        assert connect(access, Credentials(access, {}).current().pair) == "client"
        assert connect(access) == "nobody"


def test_an_unknown_authority_is_refused_unless_nothing_is_verified(tmp_path: Path, authority: Authority) -> None:
    with server(authority) as port:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"unable to get local issuer|self-signed"):
            connect(to(tmp_path, port))
        with pytest.raises(ssl.SSLCertVerificationError):
            connect(to(tmp_path, port, **{"certificate-authority": str(authority.folder / "other.crt")}))
        assert connect(to(tmp_path, port, **{"insecure-skip-tls-verify": True})) == "nobody"


@pytest.mark.parametrize(
    ("host", "name", "is_right"),
    [
        ("127.0.0.1", "", True),
        ("localhost", "", False),
        ("localhost", "kubernetes", True),
        ("127.0.0.1", "server", False),
    ],
)
def test_the_name_that_is_verified(tmp_path: Path, authority: Authority, host: str, name: str, is_right: bool) -> None:
    cluster = {"certificate-authority": authority.certificate, "tls-server-name": name}
    with server(authority) as port:
        access = to(tmp_path, port, server=f"https://{host}:{port}", **cluster)
        if is_right:
            assert connect(access) == "nobody"
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
                connect(access)


def test_the_servers_own_certificate_may_be_the_authority(tmp_path: Path, authority: Authority) -> None:
    with server(authority) as port:
        assert (
            connect(to(tmp_path, port, **{"certificate-authority": str(authority.folder / "server.crt")})) == "nobody"
        )


def pair(authority: Authority, crt: str, key: str) -> Pair:
    folder = authority.folder
    return Pair((folder / crt).read_bytes(), Secret((folder / key).read_bytes()), "config:1")


def test_what_does_not_fit_is_named(tmp_path: Path, authority: Authority) -> None:
    access = to(tmp_path, 1, **{"certificate-authority": authority.certificate})
    with pytest.raises(AccessError, match=r"^config:1: the client's key does not belong to its certificate$"):
        tls.context(access, pair(authority, "client.crt", "server.key"))
    with pytest.raises(AccessError, match=r"^config:1: the client's certificate or key is not PEM, or is damaged$"):
        tls.context(access, Pair(b"no", Secret(b"s3cret"), "config:1"))
    locked = str(authority.folder / "locked.key")
    openssl("pkey", "-in", str(authority.folder / "client.key"), "-aes256", "-passout", "pass:x", "-out", locked)
    with pytest.raises(AccessError, match="the client's key is encrypted"):
        tls.context(access, pair(authority, "client.crt", "locked.key"))
    for data in ("aGk=", base64.b64encode("-----BEGIN CERTIFICATE-----\nü".encode()).decode()):
        with pytest.raises(AccessError, match=r"the certificate authority of https://127.0.0.1:1 holds no certificate"):
            tls.context(to(tmp_path, 1, **{"certificate-authority-data": data}))


@pytest.mark.parametrize("has_memory_files", [True, False])
def test_no_file_is_left(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch, has_memory_files: bool
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    if not has_memory_files:
        monkeypatch.delattr(os, "memfd_create")
    opened = len(list(Path("/dev/fd").iterdir()))
    access = to(tmp_path, 1, **{"certificate-authority": authority.certificate})
    tls.context(access, pair(authority, "client.crt", "client.key"))
    assert list(temporary.iterdir()) == []
    assert len(list(Path("/dev/fd").iterdir())) == opened
