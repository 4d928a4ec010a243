# SPDX-License-Identifier: Apache-2.0
"""A systemd that really boots, as process 1 of its own namespaces, loads the hold before what starts pods."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from podfence.agent.node.boot import Boot, Wanted
from podfence.agent.node.boot_unit import NAME, text

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT: Final = Path(__file__).parent / "systemd.sh"
STATE: Final = Path("/var/lib/podfence")
LIMIT: Final = 300.0
SEEN: Final = "tables"
_KUBELET: Final = f"""\
[Service]
Type=oneshot
ExecStart=/bin/sh -c "nft list tables >/out/{SEEN}; echo >/out/done"
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0
    or not all(map(shutil.which, ("nft", "unshare", "pivot_root")))
    or not all(map(os.path.exists, ("/lib/systemd/systemd", "/sys/fs/cgroup/systemd"))),
    reason="needs root, nft, util-linux, and a systemd with control groups of version 1",
)


@contextmanager
def booted(folder: Path) -> Iterator[Path]:
    """Boot a node with the units and the state of a folder; yield the folder of what it has written by then."""
    out = folder / "out"
    out.mkdir()
    os.mkfifo(out / "done")
    done = os.open(out / "done", os.O_RDWR)
    process = subprocess.Popen(
        ["bash", SCRIPT, folder, f"podfence-test-{os.getpid()}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert select.select([done], [], [], LIMIT)[0], "systemd did not come so far"
        yield out
    finally:
        os.close(done)
        process.kill()
        process.communicate()
        for group in (folder / "cgroups").read_text(encoding="utf-8").splitlines():
            for place, _, _ in os.walk(group, topdown=False):
                _emptied(Path(place))


def _emptied(group: Path) -> None:
    """Take a control group away whose processes are being ended."""
    for process in (group / "cgroup.procs").read_text(encoding="ascii").split():
        # It may have ended since.
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(int(process))
            select.select([descriptor], [], [], LIMIT)
            os.close(descriptor)
    group.rmdir()


@pytest.mark.parametrize("is_held", [True, False])
def test_a_boot_loads_what_an_agent_kept_before_what_starts_pods(tmp_path: Path, is_held: bool) -> None:
    wanted = tmp_path / "units/multi-user.target.wants"
    wanted.mkdir(parents=True)
    (tmp_path / "state").mkdir()
    if is_held:
        assert Boot(tmp_path / "state", Wanted()).keep(("10.244.1.0/24",)) == ()
    for name, unit in ((NAME, text(STATE, "/usr/sbin/nft")), ("kubelet.service", _KUBELET)):
        (wanted.parent / name).write_text(unit, encoding="utf-8")
        (wanted / name).symlink_to(f"../{name}")
    with booted(tmp_path) as out:
        seen = (out / SEEN).read_text(encoding="utf-8")
    assert ("inet podfence_hold" in seen) is is_held
