# SPDX-License-Identifier: Apache-2.0
"""Unpacking the layers of an image into a folder, and never outside of it."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, Final

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MOST_LINKS: Final = 40


class LayerError(Exception):
    """A layer cannot be unpacked; the text says why, without saying which."""


def unpack(layer: IO[bytes], root: Path) -> None:
    """Put the files of a layer, a tar archive that may be compressed, on top of what is in a folder.

    Whiteouts take away what lower layers had (OCI image specification, "layer"); owners, special files and the
    set-user-ID bits are left out. Raises LayerError, also for paths that lead out of the folder.
    """
    written: set[Path] = set()
    try:
        with tarfile.open(fileobj=layer, mode="r:*") as archive:
            for member in archive:
                _unpack_member(archive, member, root, written)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise LayerError(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, root: Path, written: set[Path]) -> None:
    path = _inside(member.name)
    if path == PurePosixPath():
        return
    target = _resolve(root, path.parent) / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.name == _OPAQUE:
        for item in list(target.parent.iterdir()):
            if item not in written:
                _remove(item)
        return
    if path.name.startswith(_WHITEOUT):
        _remove(target.with_name(path.name.removeprefix(_WHITEOUT)))
        return
    for place in (target, *target.parents):
        if place == root or place in written:
            break
        written.add(place)
    if member.isdir():
        if target.is_symlink() or not target.is_dir():
            _remove(target)
            target.mkdir()
        target.chmod(member.mode & 0o777 | 0o700)
        return
    if member.isreg() or member.issym() or member.islnk():
        _remove(target)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        linked = _inside(member.linkname)
        os.link(_resolve(root, linked.parent) / linked.name, target, follow_symlinks=False)
    elif member.isreg():
        content = archive.extractfile(member)
        if content is not None:
            with content, target.open("xb") as file:
                shutil.copyfileobj(content, file)
        target.chmod(member.mode & 0o777 | 0o400)


def _inside(name: str) -> PurePosixPath:
    """Return the path that a name in an archive means, relative to the root; raise LayerError if it leaves that."""
    path = PurePosixPath(name.lstrip("/"))
    if ".." in path.parts:
        raise LayerError(f"the path {name} leads out of the image")
    return path


def _resolve(root: Path, path: PurePosixPath) -> Path:
    """Return where a folder of the image is, links followed as they will be when `root` is the root."""
    found, rest, links = root, list(path.parts), 0
    while rest:
        part = rest.pop(0)
        if part == "..":
            found = found.parent if found != root else root
            continue
        step = found / part
        if not step.is_symlink():
            found = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise LayerError(f"the symbolic links at {path} form a loop")
        target = PurePosixPath(step.readlink())
        if target.is_absolute():
            found = root
            target = target.relative_to("/")
        rest[:0] = target.parts
    return found


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
