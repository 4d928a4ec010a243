# SPDX-License-Identifier: Apache-2.0
"""Image archives built by tests: layers from files in memory, in the formats of `docker save` and of OCI."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

DIRECTORY, LINK, HARD_LINK = "directory", "link", "hard link"
Entry = bytes | tuple[str, str]
"""The content of a file, or a kind with its target."""

BUSYBOX_CONFIG = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo $GREETING from $PWD; sleep 1000"],
    "Env": ["PATH=/bin", "GREETING=hello"],
    "WorkingDir": "/work",
}


def layer(entries: dict[str, Entry]) -> bytes:
    """Return a tar archive with files (executable), folders and links."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, entry in entries.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            member.uid = member.gid = 4711
            if isinstance(entry, bytes):
                member.size = len(entry)
                tar.addfile(member, io.BytesIO(entry))
                continue
            kind, member.linkname = entry
            member.type = {DIRECTORY: tarfile.DIRTYPE, LINK: tarfile.SYMTYPE, HARD_LINK: tarfile.LNKTYPE}[kind]
            tar.addfile(member)
    return data.getvalue()


def docker(images: dict[str, list[bytes]], config: dict[str, Any] | None = None, **description: str) -> bytes:
    """Return what `docker save` writes for images by name."""
    files: dict[str, bytes] = {}
    entries = []
    for number, (name, layers) in enumerate(images.items()):
        files[f"{number}.json"] = json.dumps(
            {"config": config or {}, "os": "linux", "n": number, **description}
        ).encode()
        paths = []
        for content in layers:
            paths.append(f"{hashlib.sha256(content).hexdigest()}/layer.tar")
            files[paths[-1]] = content
        entries.append({"Config": f"{number}.json", "RepoTags": [name], "Layers": paths})
    files["manifest.json"] = json.dumps(entries).encode()
    return pack(files)


def oci(name: str, layers: list[bytes], config: dict[str, Any] | None = None) -> bytes:
    """Return an OCI image layout."""
    files: dict[str, bytes] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}

    def blob(content: bytes, **more: object) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        files[f"blobs/sha256/{digest}"] = content
        return {"digest": f"sha256:{digest}", "size": len(content), **more}

    manifest = {
        "config": blob(json.dumps({"config": config or {}}).encode()),
        "layers": [blob(item) for item in layers],
    }
    entry = blob(json.dumps(manifest).encode(), annotations={"io.containerd.image.name": name})
    files["index.json"] = json.dumps({"manifests": [entry]}).encode()
    return pack(files)


def pack(files: dict[str, bytes]) -> bytes:
    return layer(dict(files))


def busybox() -> bytes:
    """Return a layer with busybox, the libraries it needs, and the names of a few applets."""
    program = shutil.which("busybox")
    assert program is not None
    found = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    libraries = [word for line in found.splitlines() for word in line.split() if word.startswith("/")]
    entries: dict[str, Entry] = {"bin": (DIRECTORY, ""), "etc": (DIRECTORY, ""), "work": (DIRECTORY, "")}
    entries["bin/busybox"] = Path(program).read_bytes()
    entries |= {f"bin/{name}": (LINK, "busybox") for name in ("sh", "cat", "ls", "sleep", "touch", "echo", "hostname")}
    entries |= {path.lstrip("/"): Path(path).read_bytes() for path in libraries}
    return layer(entries)
