# SPDX-License-Identifier: Apache-2.0
"""Images from files: what `docker save` writes, and OCI image layouts, as tar archives."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import zlib
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final, cast

import msgspec

from podfence.lab.errors import LabError
from podfence.lab.processes import layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from io import BufferedReader
    from pathlib import Path

_ARCHITECTURES: Final[Mapping[str, str]] = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_MACHINE: Final = _ARCHITECTURES.get(os.uname().machine, os.uname().machine)
"""This machine, as images name it."""

_NAMES: Final = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_BROKEN: Final = (tarfile.TarError, EOFError, OSError, zlib.error)


class ArchiveError(LabError):
    """A file is not an image archive that can be loaded; the text names it and says what is wrong."""


class Image(msgspec.Struct, frozen=True):
    """An image that was unpacked: its names, what it runs, and the folder, below the store of the lab."""

    names: tuple[str, ...]
    folder: str
    source: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    working_dir: str = ""


class _Config(msgspec.Struct, frozen=True, rename="pascal"):
    """The part of an image's configuration that says what runs."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] | None = None
    working_dir: str | None = None


class _Description(msgspec.Struct, frozen=True):
    """An image's configuration (OCI image specification, "image configuration")."""

    config: _Config | None = None
    architecture: str = ""


class _Found(msgspec.Struct, frozen=True, rename="pascal"):
    """An image in an archive, as manifest.json has it: the paths of its parts, and its names."""

    config: str
    layers: tuple[str, ...]
    repo_tags: tuple[str, ...] | None = None


class _Platform(msgspec.Struct, frozen=True):
    architecture: str = ""


class _Descriptor(msgspec.Struct, frozen=True, rename="camel"):
    """A blob of an OCI layout (OCI image specification, "content descriptors")."""

    digest: str
    media_type: str = ""
    annotations: dict[str, str] = {}
    platform: _Platform | None = None


class _Index(msgspec.Struct, frozen=True):
    manifests: tuple[_Descriptor, ...]


class _Manifest(msgspec.Struct, frozen=True):
    config: _Descriptor
    layers: tuple[_Descriptor, ...]


def reference(image: str) -> str:
    """Return the full name of an image: Docker Hub's prefixes taken away, `:latest` where it has no tag or digest."""
    for prefix in ("docker.io/", "index.docker.io/", "library/"):
        image = image.removeprefix(prefix)
    return image if "@" in image or ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"


def load(content: IO[bytes], file: str, store: Path) -> list[Image]:
    """Unpack all images of an archive into folders below a store, and return them.

    The archive may be compressed with gzip, bzip2 or xz; `file` is its name in messages. Raises ArchiveError.
    """
    try:
        with tarfile.open(fileobj=content, mode="r:*") as tar:
            archive = _Archive(file, tar)
            return [_unpack(archive, item, store) for item in archive.images()]
    except _BROKEN as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error).partition(":\n")[0]
        raise ArchiveError(f"{file}: cannot be read as an image archive: {detail}") from error


class _Archive:
    """The files in an archive; errors name it."""

    def __init__(self, file: str, tar: tarfile.TarFile) -> None:
        self.file = file
        self._tar = tar
        self._names = {member.name.removeprefix("./"): member for member in tar}

    def error(self, text: str) -> ArchiveError:
        return ArchiveError(f"{self.file}: {text}")

    def images(self) -> Iterator[_Found]:
        """Yield the images; both formats may be there, and then say the same."""
        if "manifest.json" in self._names:
            found = self.decode("manifest.json", list[_Found])
        elif "index.json" in self._names:
            found = list(self._from_index("index.json", ()))
        else:
            raise self.error("is no image archive: it has neither manifest.json (docker save) nor index.json (OCI)")
        named = [item for item in found if item.repo_tags]
        if not named:
            raise self.error("has no image with a name; save it by its name, as in `docker save -o FILE NAME:TAG`")
        yield from named

    def _from_index(self, path: str, names: tuple[str, ...]) -> Iterator[_Found]:
        index = self.decode(path, _Index)
        fitting = [item for item in index.manifests if item.platform and item.platform.architecture == _MACHINE]
        # An index below the first is one image for several machines.
        chosen = fitting[:1] if names and fitting else index.manifests
        for item in chosen:
            own = names or tuple(item.annotations[key] for key in _NAMES if item.annotations.get(key))[:1]
            if "index" in item.media_type or "manifest.list" in item.media_type:
                yield from self._from_index(self._blob(item), own)
                continue
            manifest = self.decode(self._blob(item), _Manifest)
            blobs = tuple(self._blob(layer) for layer in manifest.layers)
            yield _Found(self._blob(manifest.config), blobs, own)

    def _blob(self, item: _Descriptor) -> str:
        """Return the path of a blob whose content is what its name says."""
        kind, _, digest = item.digest.partition(":")
        path = f"blobs/{kind}/{digest}"
        if kind == "sha256":
            with self.open(path) as content:
                if hashlib.file_digest(content, "sha256").hexdigest() != digest:
                    raise self.error(f"{path} is damaged: its digest does not match its content")
        return path

    def open(self, path: str) -> BufferedReader:
        # A link in the archive may lead to what is not in there.
        with suppress(KeyError):
            if (content := self._tar.extractfile(self._names[path])) is not None:
                return cast("BufferedReader", content)
        raise self.error(f"{path} is missing")

    def decode(self, path: str, kind: type[Any]) -> Any:  # noqa: ANN401 - the type is the argument
        with self.open(path) as content:
            try:
                return msgspec.json.decode(content.read(), type=kind)
            except msgspec.MsgspecError as error:
                raise self.error(f"{path} does not have the format of an image archive: {error}") from error


def _unpack(archive: _Archive, found: _Found, store: Path) -> Image:
    """Unpack an image, in a folder that has its final name only when it is complete."""
    names = found.repo_tags or ()
    description: _Description = archive.decode(found.config, _Description)
    if description.architecture not in {"", _MACHINE}:
        raise archive.error(f"{names[0]} is for {description.architecture}; this machine is {_MACHINE}")
    with archive.open(found.config) as content:
        digest = hashlib.sha256(content.read() + "\n".join(found.layers).encode()).hexdigest()[:24]
    folder = store / "images" / digest
    if not folder.exists():
        partial = folder.with_name(f"{digest}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            for path in found.layers:
                with archive.open(path) as layer:
                    try:
                        layers.unpack(layer, partial)
                    except layers.LayerError as error:
                        raise archive.error(f"layer {path}: {error}") from error
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    config = description.config or _Config()
    return Image(
        names=tuple(map(reference, names)),
        folder=f"images/{digest}",
        source=archive.file.rsplit("/", 1)[-1],
        entrypoint=config.entrypoint or (),
        command=config.cmd or (),
        env=dict(entry.partition("=")[::2] for entry in config.env or ()),
        working_dir=config.working_dir or "",
    )
