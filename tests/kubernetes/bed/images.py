#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the images of the bed out of unpacked Debian packages and built programs, and puts them into its registry.

usage: images.py WORK REGISTRY

Each image is one layer, always with the same bytes; what the registry has already is not sent again.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import platform
import subprocess
import sys
import tarfile
import urllib.parse
from pathlib import Path
from typing import Final

_FOLDERS: Final = (
    "bin",
    "dev",
    "etc",
    "home",
    "proc",
    "root",
    "run",
    "sys",
    "uploads",
    "usr",
    "usr/bin",
    "var",
    "var/run",
)
_ACCOUNTS: Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
    "etc/group": "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_NGINX: Final = """\
daemon off;
user root;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr notice;
events {
    worker_connections 1024;
}
http {
    default_type text/html;
    access_log /dev/stdout;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;
    server {
        listen 80;
        listen [::]:80;
        root /usr/share/nginx/html;
    }
}
"""
# A pod that runs CoreDNS without a configuration of its own answers, and knows no names.
_COREFILE: Final = ".:53 {\n  errors\n  ready\n}\n"


class Layer:
    """The files of an image, as a tar archive."""

    def __init__(self, debian: Path, busybox: Path) -> None:
        self._debian = debian
        self._busybox = busybox
        # Programs have the loader's name in them; there it is a link, to a place in a root file system.
        self._loader_name = next(path for path in debian.glob("lib*/ld-linux*") if path.is_symlink())
        self._loader = debian / self._loader_name.readlink().relative_to("/")
        self._libraries = ":".join(
            str(folder) for lib in ("lib", "usr/lib") for folder in debian.glob(f"{lib}/*-linux-gnu")
        )
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 - closed by `finish`
        self._have: set[str] = set()
        for folder in _FOLDERS:
            self._add(folder, 0o755, kind=tarfile.DIRTYPE)
        self._add("tmp", 0o1777, kind=tarfile.DIRTYPE)
        for path, text in _ACCOUNTS.items():
            self.text(path, text)

    def text(self, path: str, content: str) -> Layer:
        """Add a text file."""
        self._add(path, 0o644, content.encode())
        return self

    def file(self, path: str, source: Path, mode: int = 0o755) -> Layer:
        """Add a copy of a file, a program if nothing else is said."""
        self._add(path, mode, source.read_bytes())
        return self

    def link(self, path: str, target: str) -> Layer:
        """Add a symbolic link."""
        self._add(path, 0o777, kind=tarfile.SYMTYPE, target=target)
        return self

    def program(self, path: str, program: Path) -> Layer:
        """Add a program with the shared libraries that it loads, which are taken from the packages."""
        self.file(path, program)
        for line in self._load("--list", program).splitlines():
            words = line.split()
            if "=>" in words and not words[2].startswith(str(self._debian)):
                raise SystemExit(f"{program} needs {words[0]}: add its package to unpack.sh")
            if "=>" in words:
                self.file(f"usr/lib/{Path(words[0]).name}", Path(words[2]))
        self.file(str(self._loader_name.relative_to(self._debian)), self._loader)
        return self

    def shell(self) -> Layer:
        """Add BusyBox with its applets."""
        self.file("bin/busybox", self._busybox)
        applets = subprocess.run([self._busybox, "--list"], check=True, capture_output=True, text=True).stdout
        for name in applets.split():
            self.link(f"bin/{name}", "busybox")
        return self

    def finish(self) -> bytes:
        """Return the archive."""
        self._tar.close()
        return self._bytes.getvalue()

    def _load(self, *arguments: str | Path) -> str:
        """Return what a program of the packages says, or what its loader says of it."""
        asked = [self._loader, "--library-path", self._libraries, *arguments]
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout

    def _add(self, path: str, mode: int, content: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
        if path in self._have:
            return
        self._have.add(path)
        entry = tarfile.TarInfo(path)
        entry.mode, entry.type, entry.linkname, entry.size = mode, kind, target, len(content)
        self._tar.addfile(entry, io.BytesIO(content))


class Registry:
    """A registry that keeps images (the HTTP API of the OCI distribution specification)."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=60)

    def push(self, names: list[str], layer: bytes, process: dict[str, object]) -> None:
        """Put one image under some names, each `NAME:TAG`."""
        config = json.dumps(
            {
                "architecture": _ARCHITECTURES[platform.machine()],
                "os": "linux",
                "created": "1970-01-01T00:00:00Z",
                "config": {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], **process},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
                "history": [{"created": "1970-01-01T00:00:00Z"}],
            }
        ).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST,
                "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
                "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
            }
        ).encode()
        for name in names:
            repository, tag = name.rsplit(":", 1)
            for blob in (layer, config):
                self._blob(repository, blob)
            self._send("PUT", f"/v2/{repository}/manifests/{tag}", manifest, _MANIFEST)

    def _blob(self, repository: str, blob: bytes) -> None:
        digest = _digest(blob)
        if self._send("HEAD", f"/v2/{repository}/blobs/{digest}", accepted=(200, 404)).status == 200:
            return
        place = self._send("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
        self._send("PUT", f"{place}&digest={digest}", blob, "application/octet-stream")

    def _send(
        self, method: str, url: str, body: bytes = b"", kind: str = "text/plain", accepted: tuple[int, ...] = (201, 202)
    ) -> http.client.HTTPResponse:
        self._connection.request(method, url, body, {"Content-Type": kind})
        response = self._connection.getresponse()
        said = response.read()
        if response.status not in accepted:
            raise SystemExit(f"the registry refuses {method} {url}: {response.status} {said.decode(errors='replace')}")
        return response


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def main(work: Path, url: str) -> None:
    """Make all images and put them into the registry."""
    debian, programs, registry = work / "debian", work / "bin", Registry(url)
    busybox = programs / "busybox"
    sources = Path((work / "conf/kubernetes-sources").read_text(encoding="utf-8").strip())
    agnhost = sources / "test/images/agnhost"
    version = (agnhost / "VERSION").read_text(encoding="utf-8").strip()

    registry.push(
        ["library/pause:1", "e2e-test-images/pause:1"],
        Layer(debian, busybox).file("pause", programs / "pause").finish(),
        {"Entrypoint": ["/pause"]},
    )
    test_image = Layer(debian, busybox).shell().file("agnhost", programs / "agnhost").link("agnhost-2", "agnhost")
    for name in ("localhost.crt", "localhost.key"):
        test_image.file(name, agnhost / "porter" / name, 0o644)
    registry.push(
        [f"e2e-test-images/agnhost:{version}", "library/agnhost:latest"],
        test_image.finish(),
        {"Entrypoint": ["/agnhost"], "Cmd": ["pause"]},
    )
    registry.push(
        ["library/coredns:1.12"],
        Layer(debian, busybox).file("coredns", programs / "coredns").text("Corefile", _COREFILE).finish(),
        {"Entrypoint": ["/coredns"], "WorkingDir": "/"},
    )
    registry.push(
        [f"library/{name}" for name in ("alpine:latest", "busybox:latest", "busybox:1.36")]
        + ["e2e-test-images/busybox:1"],
        Layer(debian, busybox).shell().finish(),
        {"Cmd": ["sh"]},
    )
    pages = (
        Layer(debian, busybox)
        .shell()
        .program("usr/sbin/nginx", debian / "usr/sbin/nginx")
        .text("etc/nginx/nginx.conf", _NGINX)
    )
    pages.file("usr/share/nginx/html/index.html", debian / "usr/share/nginx/html/index.html", 0o644)
    registry.push(
        ["library/nginx:latest", "library/nginx:1.27"],
        pages.finish(),
        {"Cmd": ["/usr/sbin/nginx", "-c", "/etc/nginx/nginx.conf"]},
    )
    registry.push(
        ["library/redis:latest", "library/redis:7"],
        Layer(debian, busybox).shell().program("usr/bin/redis-server", debian / "usr/bin/redis-check-rdb").program(
            "usr/bin/redis-cli", debian / "usr/bin/redis-cli"
        ).finish(),
        {"Cmd": ["redis-server", "--protected-mode", "no", "--save", "", "--dir", "/tmp"]},  # noqa: S108 - the pod's own
    )  # fmt: skip
    stand_in = Layer(debian, busybox).shell().file("stand-in", programs / "stand-in").finish()
    for names, ports in (
        (["ahmet/app-on-two-ports:latest", "example/app-on-two-ports:1"], ["two-ports"]),
        (["library/mysql:8"], ["3306"]),
        (["library/mongo:8"], ["27017"]),
        ([f"example/{name}:1" for name in ("api", "internal", "other", "payroll", "shop-api")], ["80", "5000", "8080"]),
    ):
        registry.push(names, stand_in, {"Entrypoint": ["/stand-in"], "Cmd": ports})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
