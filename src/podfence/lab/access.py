# SPDX-License-Identifier: Apache-2.0
"""How kubectl reaches a lab: a kubeconfig of its own in a folder that only this user can read.

The user's own kubeconfig is never touched. Files of labs that have ended are removed when somebody looks for a lab.
"""

from __future__ import annotations

import base64
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Collection

_SUFFIX: Final = ".kubeconfig"
_CACHE: Final = ".cache"
_FOLDER_MODE: Final = 0o700


class Access(msgspec.Struct, frozen=True):
    """The address of a lab's API server, its certificate authority (PEM), and the token that it accepts."""

    server: str
    authority: str
    token: str


def kubeconfig(access: Access, lab: str) -> str:
    """Return a kubeconfig with one context, as YAML."""
    name = f"podfence-{lab}"
    authority = base64.b64encode(access.authority.encode()).decode()
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: {name}
  cluster:
    server: {access.server}
    certificate-authority-data: {authority}
users:
- name: {name}
  user:
    token: {access.token}
contexts:
- name: {name}
  context:
    cluster: {name}
    user: {name}
current-context: {name}
"""


def path(lab: str) -> Path:
    """Return where the kubeconfig of a lab is, if there is one."""
    return _folder() / f"{lab}{_SUFFIX}"


def write(access: Access, lab: str) -> Path:
    """Write the kubeconfig of a lab, readable by this user only, and return its path. Raises LabError."""
    place = path(lab)
    try:
        _make(place.parent)
        number, name = tempfile.mkstemp(dir=place.parent)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(kubeconfig(access, lab))
        Path(name).rename(place)
    except OSError as error:
        raise LabError(f"cannot write {place}: {error.strerror}") from error
    return place


def environment(lab: str) -> dict[str, str]:
    """Return the variables by which kubectl finds a lab, and keeps what it learns of it apart."""
    place = path(lab)
    return {"KUBECONFIG": str(place), "KUBECACHEDIR": str(place.with_name(f"{lab}{_CACHE}")), "PODFENCE_LAB": lab}


def remove(lab: str) -> None:
    """Remove what was written for a lab, if there is anything."""
    with suppress(OSError):
        place = path(lab)
        place.unlink(missing_ok=True)
        shutil.rmtree(place.with_name(f"{lab}{_CACHE}"), ignore_errors=True)


def remove_ended(running: Collection[str]) -> None:
    """Remove what was written for labs that are not among those that run."""
    with suppress(OSError):
        for place in list(_folder().iterdir()):
            if place.suffix == _SUFFIX and place.stem not in running:
                remove(place.stem)


def _folder() -> Path:
    """Return the folder for such files: in XDG_RUNTIME_DIR, or else among the temporary files."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and Path(runtime).is_dir() and os.access(runtime, os.W_OK):
        return Path(runtime, "podfence")
    return Path(tempfile.gettempdir(), f"podfence-{os.geteuid()}")


def _make(folder: Path) -> None:
    """Make the folder if there is none. Raises OSError, and LabError if another user could have made it."""
    with suppress(FileExistsError):
        folder.mkdir(mode=_FOLDER_MODE)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) != _FOLDER_MODE:
        raise LabError(f"{folder} is not a folder that only you can read; remove it, or set XDG_RUNTIME_DIR")
