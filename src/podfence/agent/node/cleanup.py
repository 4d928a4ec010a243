# SPDX-License-Identifier: Apache-2.0
"""A node as it was before podfence: for after the last agent, not for between two.

An agent that ends leaves its table to the next one, so somebody has to say that there will be none.
"""

from __future__ import annotations

import re
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from podfence.agent.node import boot_unit, bridging, hold
from podfence.agent.node.presence import LOCK, SOCKET, claimed
from podfence.dataplane.conntrack import KernelConntrack
from podfence.dataplane.kept import ForeignTableError
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE, is_ours
from podfence.dataplane.settings import Settings
from podfence.errors import PodfenceError
from podfence.netlink.asking import NetlinkError
from podfence.nft.errors import NftError, NotFoundError
from podfence.nft.process import NftRunner
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.nft.runner import Runner

RUN: Final = Path("/run/podfence")
STATE: Final = Path("/var/lib/podfence")
ROOT: Final = Path("/")

_KEPT: Final = "|".join(map(re.escape, (bridging.RECORD, *boot_unit.FILES)))
_STATE_FILES: Final = re.compile(rf"log-\d+|(base-\d+|{_KEPT})(\.partial)?")
_RUN_FILES: Final = re.compile(rf"{re.escape(LOCK)}|{re.escape(SOCKET)}")


class CleanupError(PodfenceError):
    """Something of podfence is left on the node."""


def cleanup(
    say: Callable[[str], None],
    *,
    run: Path = RUN,
    state: Path = STATE,
    sysctls: Path = bridging.SYSCTLS,
    root: Path = ROOT,
) -> None:
    """Take everything of podfence from the node of this thread's network namespace, and `say` what was done.

    The tables go first, that of frames before that of policies: until then all is enforced, from then on nothing.
    `root` is where the node's root directory is, if a boot unit may be in it.
    Files are removed by their names, and directories only when they are empty, so a wrong path does no harm. Doing it
    twice does no harm.

    Raises AgentRunsError if an agent runs, ForeignTableError if the table is somebody else's, NftError if it cannot
    be deleted: nothing was touched then. Raises CleanupError after the rest was done if something else is left.
    """
    failed: list[str] = []
    with claimed(run):
        runner = NftRunner()
        _delete_tables(runner, say)
        if hold.release(runner):
            say(f"deleted table {hold.TABLE.address}: pods are no longer blocked")
        try:
            boot_unit.remove(root, say)
        except boot_unit.RefusedError as error:
            failed.append(str(error))
        try:
            say(_forget_labels(Settings().label))
        except (OSError, NetlinkError) as error:
            failed.append(f"the labels of cut connections remain ({error}): they have no effect on other programs")
        restored = bridging.restore(state=state, sysctls=sysctls)
        for text in restored.done:
            say(text)
        failed += restored.failed
        for directory, names in ((state, _STATE_FILES), (run, _RUN_FILES)):
            _remove(directory, names, say, failed)
    if failed:
        raise CleanupError("\n".join(failed))


def _delete_tables(runner: Runner, say: Callable[[str], None]) -> None:
    try:
        table = runner.list_table(TABLE)
    except NotFoundError:
        table = None
    if table is not None and not is_ours(table.comment):
        raise ForeignTableError(f"podfence did not create the table {TABLE.address}: nothing was changed")
    if _has_frames(runner):
        runner.run(Transaction(BRIDGE_TABLE).delete(BRIDGE_TABLE))
        say(f"deleted table {BRIDGE_TABLE.address}: ports of bridges are no longer bound")
    if table is None:
        say(f"there is no table {TABLE.address}")
    else:
        runner.run(Transaction(TABLE).delete(TABLE))
        say(f"deleted table {TABLE.address}: podfence no longer enforces policies on this node")


def _has_frames(runner: Runner) -> bool:
    try:
        return is_ours(runner.list_table(BRIDGE_TABLE).comment)
    except NftError:
        # There is none, or the kernel has no such tables.
        return False


def _forget_labels(label: int) -> str:
    with closing(KernelConntrack(label)) as conntrack:
        cut = [flow for flow in conntrack.flows(None) if flow.labelled]
        done = conntrack.label(cut, present=False).done
    if not cut:
        return f"no connection has label {label}"
    return f"removed label {label} from {done} connections that were cut; they continue if both ends still have them"


def _remove(directory: Path, names: re.Pattern[str], say: Callable[[str], None], failed: list[str]) -> None:
    try:
        found = sorted(directory.iterdir())
    except FileNotFoundError:
        say(f"there is no {directory}")
        return
    except OSError as error:
        failed.append(f"{directory} cannot be read: {error.strerror}")
        return
    try:
        mine = [path for path in found if names.fullmatch(path.name)]
        for path in mine:
            path.unlink(missing_ok=True)
    except OSError as error:
        failed.append(f"{error.filename} cannot be removed: {error.strerror}")
        return
    others = [path.name for path in found if path not in mine]
    if others:
        failed.append(f"{directory} remains, because it has files that are not podfence's: {', '.join(others)}")
        return
    # A directory that is mounted from the node cannot be removed from inside of a container.
    with suppress(OSError):
        directory.rmdir()
    say(f"{directory} is {'empty' if directory.exists() else 'removed'}")
