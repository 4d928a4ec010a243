# SPDX-License-Identifier: Apache-2.0
"""The unit of systemd that loads `podfence.agent.node.hold` when a node boots, before anything starts pods.

The unit holds nothing by itself: it loads what an agent keeps in its state directory, so without an agent's files it
does nothing. It loads it at most `MOST_BOOTS` times in a row without an agent that became ready in between, so that a
node from which podfence was removed in haste is soon as it was.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from podfence.errors import PodfenceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME: Final = "podfence-hold.service"

PACKETS: Final = "hold.nft"
"""The file in the state directory that the unit loads, and without which it does nothing."""

FRAMES: Final = "hold-bridge.nft"
"""The same for bridges; that it cannot be loaded does no harm to the other."""

BOOTS: Final = "hold-boots"
"""A byte for each boot since an agent was ready."""

REFUSED: Final = "boot-unit-refused"
"""The file in the state directory that says why there is no unit."""

FILES: Final = (PACKETS, FRAMES, BOOTS, REFUSED)

MOST_BOOTS: Final = 3

_UNITS: Final = "etc/systemd/system"
_WANTS: Final = "multi-user.target.wants"
_PROGRAMS: Final = ("usr/sbin/nft", "usr/bin/nft", "usr/local/sbin/nft")
_PLAIN: Final = re.compile(r"(/[A-Za-z0-9_.-]+)+")
_MARK: Final = "# Made by `podfence agent boot-unit install`; `podfence agent boot-unit remove` takes it away."
# What may flush all rules when it starts, and what starts pods.
_AFTER: Final = "nftables firewalld ufw netfilter-persistent iptables ip6tables"
_BEFORE: Final = (
    "kubelet containerd crio docker cri-docker k3s k3s-agent rke2-server rke2-agent k0scontroller k0sworker "
    "snap.microk8s.daemon-containerd snap.microk8s.daemon-kubelite snap.kubelet-eks.daemon"
)


class RefusedError(PodfenceError):
    """This node cannot have the unit, or the unit cannot be taken away."""


def text(state: Path, nft: str = "/usr/sbin/nft") -> str:
    """Return the unit; `state` is the agent's state directory, and `nft` the node's program."""
    boots = state / BOOTS
    return f"""{_MARK}
[Unit]
Description=Hold the pods of this node until podfence judges them
ConditionPathExists={state / PACKETS}
RequiresMountsFor={state}
After={_services(_AFTER)}
Before={_services(_BEFORE)}

[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=30
ExecCondition=/bin/sh -c "! {nft} list table inet podfence >/dev/null 2>&1"
ExecCondition=/bin/sh -c "! find {boots} -size +{MOST_BOOTS - 1}c 2>/dev/null | grep -q ."
ExecStartPre=/bin/sh -c "printf . >>{boots}"
ExecStart={nft} -f {state / PACKETS}
ExecStart=-{nft} -f {state / FRAMES}

[Install]
WantedBy=multi-user.target
"""


def install(root: Path, state: Path, say: Callable[[str], None]) -> None:
    """Write the unit and enable it, from the next boot on; `root` is where the node's root directory is.

    Raises RefusedError, with the reason, if this node cannot have it; nothing is left of it then.
    """
    units = root / _UNITS
    if not _PLAIN.fullmatch(str(state)):
        raise RefusedError(f"{state} cannot be named in a unit: use an absolute path of letters, digits, '_', '.', '-'")
    if not units.is_dir():
        raise RefusedError(f"there is no directory /{_UNITS} here: the boot unit is for nodes that systemd starts")
    nft = next((name for name in _PROGRAMS if (root / name).is_file()), None)
    if nft is None:
        names = ", ".join(f"/{name}" for name in _PROGRAMS)
        raise RefusedError(f"this node does not have the program nft ({names}): install the package nftables")
    wanted, link = units / _WANTS, units / _WANTS / NAME
    try:
        _refuse_foreign(units / NAME)
        wanted.mkdir(exist_ok=True)
        partial = units / f"{NAME}.partial"
        partial.write_text(text(state, f"/{nft}"), encoding="utf-8")
        partial.replace(units / NAME)
        if not link.is_symlink():
            link.symlink_to(f"../{NAME}")
    except OSError as error:
        with suppress(OSError):
            _remove(root)
        raise RefusedError(f"/{_UNITS} cannot be written: {error.strerror}") from error
    say(f"installed /{_UNITS}/{NAME}: from the next boot on, it loads the files that an agent keeps in {state}")


def install_or_note(root: Path, state: Path, say: Callable[[str], None]) -> None:
    """Do what `install` does, and if this node cannot have the unit, leave the reason for the agent in `state`.

    Never raises: what waits for this must not be kept from running.
    """
    try:
        try:
            install(root, state, say)
        except RefusedError as error:
            say(str(error))
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            (state / REFUSED).write_text(f"{error}\n", encoding="utf-8")
        else:
            (state / REFUSED).unlink(missing_ok=True)
    except OSError as error:
        say(f"{error.filename}: {error.strerror}")


def remove(root: Path, say: Callable[[str], None]) -> None:
    """Take the unit away, if it is there and ours. Raises RefusedError if it cannot be."""
    try:
        if _remove(root):
            say(f"removed /{_UNITS}/{NAME}")
    except OSError as error:
        raise RefusedError(f"/{_UNITS}/{NAME} cannot be removed: {error.strerror}") from error


def _remove(root: Path) -> bool:
    units = root / _UNITS
    unit = units / NAME
    if not _is_ours(unit):
        return False
    (units / _WANTS / NAME).unlink(missing_ok=True)
    unit.unlink()
    return True


def _refuse_foreign(unit: Path) -> None:
    if unit.exists() and not _is_ours(unit):
        raise RefusedError(f"podfence did not create /{_UNITS}/{NAME} and does not change it")


def _is_ours(unit: Path) -> bool:
    try:
        return unit.read_text(encoding="utf-8", errors="replace").startswith(_MARK)
    except FileNotFoundError:
        return False


def _services(names: str) -> str:
    return " ".join(f"{name}.service" for name in names.split())
