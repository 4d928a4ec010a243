# SPDX-License-Identifier: Apache-2.0
"""Bridges that hand the traffic between their pods to the node's rules.

Two pods behind one bridge reach each other without routing, so their packets meet the forward hook only if the
kernel's br_netfilter takes them there. There are two switches, and one of them is enough: a setting of the whole
network namespace (``net.bridge.bridge-nf-call-iptables``, and the same with ``ip6tables``), which needs a
writable ``/proc/sys/net``; and an option of each bridge, which needs CAP_NET_ADMIN alone.

The setting is preferred, because it holds for bridges that are made later. What is changed is written down
first, so that `restore` can undo it, whatever becomes of the agent.
"""

from __future__ import annotations

import socket
import struct
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from podfence.agent.node.findings import NodeFinding
from podfence.agent.node.interfaces import links
from podfence.netlink.asking import Netlink, NetlinkError
from podfence.netlink.messages import attribute, contents, nested

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.agent.node.interfaces import Place
    from podfence.sets.addresses import Family

SYSCTLS: Final = Path("/proc/sys/net")
"""Where the settings of networks are; a container may have a writable mount of them somewhere else."""

RECORD: Final = "bridging.json"
"""The file in the state directory that says what was changed."""


class _Switch(NamedTuple):
    """Both switches of one family: the name of the setting, and the name and number of a bridge's option."""

    setting: str
    option: str
    number: int


# The numbers are IFLA_BR_NF_CALL_IPTABLES and IFLA_BR_NF_CALL_IP6TABLES of linux/if_link.h.
_SWITCHES: Final[dict[Family, _Switch]] = {
    4: _Switch("bridge-nf-call-iptables", "nf_call_iptables", 36),
    6: _Switch("bridge-nf-call-ip6tables", "nf_call_ip6tables", 37),
}
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_ON, _OFF = "1", "0"
_NEW_LINK: Final = 16
_LINK: Final = struct.Struct("=BxHiII")
_LINK_INFO: Final = 18
_INFO_KIND, _INFO_DATA = 1, 2


class Ensured(NamedTuple):
    """What is wrong with bridges, and what was changed, a sentence each."""

    findings: tuple[NodeFinding, ...] = ()
    changes: tuple[str, ...] = ()


class Restored(NamedTuple):
    """What was set back, and what could not be, a sentence each."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class _Record(msgspec.Struct):
    """What was switched on since the machine started: settings, and options by bridge; all were off before."""

    boot: str
    settings: list[str] = []
    bridges: dict[str, list[str]] = {}


def ensure(places: Mapping[str, Place], *, state: Path, sysctls: Path = SYSCTLS) -> Ensured:
    """Have the bridges that pods are behind hand their traffic to the rules of this thread's network namespace.

    `places` are those of local pods by address (see `locate`), `state` is the state directory. Where nothing is
    missing, nothing is changed: this is for once a minute, because others set such things back. Never raises.
    """
    changes: list[str] = []
    failed: dict[str, str] = {}
    for family, switch in _SWITCHES.items():
        found = {place.bridge for text, place in places.items() if place.bridge and (6 if ":" in text else 4) == family}
        if found:
            try:
                changes += _switch_on(switch, sorted(found), state, sysctls)
            except (OSError, NetlinkError) as error:
                failed[switch.setting] = f"bridge {', '.join(sorted(found))} (IPv{family}: {error})"
    if not failed:
        return Ensured((), tuple(changes))
    commands = ["modprobe br_netfilter", *(f"sysctl -w net.bridge.{setting}=1" for setting in failed)]
    finding = NodeFinding(
        "fatal",
        "bridge-not-filtered",
        f"pods behind {'; '.join(failed.values())} reach each other past all policies",
        f"run this on the node, at every start: {'; '.join(commands)}",
    )
    return Ensured((finding,), tuple(changes))


def restore(*, state: Path, sysctls: Path = SYSCTLS) -> Restored:
    """Switch off what `ensure` switched on since the machine started, if it still is on. Never raises."""
    record = _read(state)
    done: list[str] = []
    failed: list[str] = []
    for setting in list(record.settings):
        what = f"net.bridge.{setting}"
        try:
            if _exists(setting, sysctls) and _value(setting, sysctls) == _ON:
                (sysctls / "bridge" / setting).write_text(_OFF, encoding="ascii")
                done.append(f"{what} is 0 again")
        except OSError as error:
            failed.append(f"{what} could not be reset ({error.strerror}): run `sysctl -w {what}=0`")
            continue
        record.settings.remove(setting)
    for bridge, options in list(record.bridges.items()):
        try:
            done += [
                f"{switch.option} of bridge {bridge} is 0 again"
                for switch in _SWITCHES.values()
                if switch.option in options and _set_option(bridge, switch, on=False)
            ]
        except (OSError, NetlinkError) as error:
            command = f"ip link set {bridge} type bridge {' '.join(f'{item} 0' for item in options)}"
            failed.append(f"bridge {bridge} could not be reset ({error}): run `{command}`")
            continue
        del record.bridges[bridge]
    try:
        if failed:
            _write(state, record)
        else:
            (state / RECORD).unlink(missing_ok=True)
    except OSError as error:
        failed.append(f"{state / RECORD} could not be updated ({error.strerror}): delete it")
    return Restored(tuple(done), tuple(failed))


def _switch_on(switch: _Switch, bridges: list[str], state: Path, sysctls: Path) -> Iterator[str]:
    """Switch on what is off, and yield what was. Raises OSError or NetlinkError."""
    if _value(switch.setting, sysctls) == _ON:
        return
    off = [link.name for link in links().values() if link.name in bridges and not _is_on(link.options, switch.number)]
    if not off:
        return
    record = _read(state)
    mine = switch.setting in record.settings
    if not mine:
        record.settings.append(switch.setting)
    noted = _noted(state, record)
    try:
        (sysctls / "bridge" / switch.setting).write_text(_ON, encoding="ascii")
    except OSError:
        # A container may not write there, and need not.
        if not mine:
            record.settings.remove(switch.setting)
        for bridge in off:
            if switch.option not in record.bridges.setdefault(bridge, []):
                record.bridges[bridge].append(switch.option)
        noted = _noted(state, record)
        for bridge in off:
            if _set_option(bridge, switch, on=True):
                yield f"{switch.option} of bridge {bridge} was 0 and is 1 now{noted}"
        return
    yield f"net.bridge.{switch.setting} was 0 and is 1 now: pods are behind bridge {', '.join(off)}{noted}"


def _exists(setting: str, sysctls: Path) -> bool:
    return any((root / "bridge" / setting).exists() for root in (sysctls, SYSCTLS))


def _value(setting: str, sysctls: Path) -> str:
    for root in (sysctls, SYSCTLS):
        path = root / "bridge" / setting
        if path.exists():
            return path.read_text(encoding="ascii").strip()
    raise FileNotFoundError("the kernel module br_netfilter is not loaded")


def _is_on(options: bytes, number: int) -> bool:
    return any(contents(options, 0, len(options)).get(number, b""))


def _set_option(bridge: str, switch: _Switch, *, on: bool) -> bool:
    """Set a bridge's option, if there is such a bridge and it has another value; return whether that was so."""
    found = next(((index, link) for index, link in links().items() if link.name == bridge), None)
    if found is None or found[1].kind != "bridge" or _is_on(found[1].options, switch.number) is on:
        return False
    info = [
        attribute(_INFO_KIND, b"bridge\0"),
        nested(_INFO_DATA, [attribute(switch.number, bytes((on,)))]),
    ]
    with closing(Netlink(socket.NETLINK_ROUTE)) as netlink:
        (number,) = netlink.change(_NEW_LINK, [_LINK.pack(0, 0, found[0], 0, 0) + nested(_LINK_INFO, info)])
    if number:
        raise NetlinkError(f"setting {switch.option} of bridge {bridge}", number)
    return True


def _noted(state: Path, record: _Record) -> str:
    """Write a change down; return what is to be said if that fails, since the change is more important."""
    try:
        _write(state, record)
    except OSError as error:
        return f" (this could not be recorded, so no cleanup will undo it: {state / RECORD}: {error.strerror})"
    return ""


def _read(state: Path) -> _Record:
    """Return what was switched on since the machine started; what was before that is forgotten, as by the kernel."""
    boot = _BOOT.read_text(encoding="ascii").strip()
    try:
        found = msgspec.json.decode((state / RECORD).read_bytes(), type=_Record)
    except (OSError, msgspec.DecodeError):
        return _Record(boot)
    return found if found.boot == boot else _Record(boot)


def _write(state: Path, record: _Record) -> None:
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = state / f"{RECORD}.partial"
    partial.write_bytes(msgspec.json.encode(record))
    partial.replace(state / RECORD)
