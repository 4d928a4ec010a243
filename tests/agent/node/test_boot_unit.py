# SPDX-License-Identifier: Apache-2.0
"""The boot unit: what systemd would do with it, where it is refused, and what is left when it is removed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from podfence.agent.node.boot import Boot, Wanted
from podfence.agent.node.boot_unit import (
    BOOTS,
    FILES,
    FRAMES,
    MOST_BOOTS,
    NAME,
    PACKETS,
    RefusedError,
    install,
    install_or_note,
    remove,
    text,
)
from podfence.agent.node.cleanup import cleanup

if TYPE_CHECKING:
    from tests.spaces import Space

CIDRS: Final = ("10.244.1.0/24", "fd00:1::/64")
UNITS: Final = "etc/systemd/system"


def quiet(_: str) -> None:
    """Say nothing."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root directory of a node with systemd and nft."""
    found = tmp_path / "root"
    (found / UNITS).mkdir(parents=True)
    (found / "usr/sbin").mkdir(parents=True)
    (found / "usr/sbin/nft").touch()
    return found


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def boot(unit: str) -> bool:
    """Do what systemd does with a unit when a node boots; return whether it was started."""
    lines = [line.partition("=")[::2] for line in unit.splitlines() if "=" in line and not line.startswith("#")]
    if not all(Path(value).exists() for name, value in lines if name == "ConditionPathExists"):
        return False
    for name, value in lines:
        if name.startswith("Exec"):
            may_fail = value.startswith("-")
            code = subprocess.run(shlex.split(value.removeprefix("-")), check=False).returncode
            if name == "ExecCondition" and code:
                return False
            assert may_fail or not code, value
    return True


def is_held() -> bool:
    listed = subprocess.run(("nft", "list", "tables"), capture_output=True, text=True, check=True).stdout
    assert ("inet podfence_hold" in listed) == ("bridge podfence_hold" in listed)
    return "podfence_hold" in listed


def unload() -> None:
    """Do what the next boot does to the rules of this one."""
    subprocess.run(("nft", "flush", "ruleset"), check=True)


def nft() -> str:
    return shutil.which("nft") or ""


def test_a_boot_holds_what_the_agent_kept(node: Space, tmp_path: Path) -> None:
    unit = text(tmp_path, nft())
    assert not boot(unit)
    assert Boot(tmp_path, Wanted()).keep(CIDRS) == ()
    assert boot(unit)
    assert is_held()
    assert all(cidr in (tmp_path / PACKETS).read_text() for cidr in CIDRS)


def test_boots_hold_no_more_when_no_agent_became_ready_in_three_of_them(node: Space, tmp_path: Path) -> None:
    unit = text(tmp_path, nft())
    Boot(tmp_path, Wanted()).keep(CIDRS)
    for _ in range(MOST_BOOTS):
        assert boot(unit)
        unload()
    assert not boot(unit)
    assert not is_held()
    (tmp_path / BOOTS).unlink()
    assert boot(unit)


def test_a_unit_that_is_started_on_a_node_that_enforces_holds_nothing(node: Space, tmp_path: Path) -> None:
    Boot(tmp_path, Wanted()).keep(CIDRS)
    subprocess.run(("nft", "add", "table", "inet", "podfence"), check=True)
    assert not boot(text(tmp_path, nft()))
    assert not is_held()


def test_what_bridges_cannot_have_does_not_keep_the_rest_from_being_held(node: Space, tmp_path: Path) -> None:
    Boot(tmp_path, Wanted()).keep(CIDRS)
    (tmp_path / FRAMES).write_text("what an old kernel does not know")
    assert boot(text(tmp_path, nft()))


def test_an_agent_that_is_not_to_hold_disarms_the_unit(node: Space, tmp_path: Path) -> None:
    Boot(tmp_path, Wanted()).keep(CIDRS)
    Boot(tmp_path, None).keep(CIDRS)
    assert not set(tree(tmp_path)) & set(FILES)
    assert not boot(text(tmp_path, nft()))


def test_without_a_range_nothing_is_held_and_that_is_found(tmp_path: Path) -> None:
    Boot(tmp_path, Wanted()).keep(CIDRS)
    assert Boot(tmp_path, Wanted()).keep(("10.244.1.0/240",)) == Boot(tmp_path, Wanted()).keep(())
    (found,) = Boot(tmp_path, Wanted()).keep(())
    assert (found.severity, found.code) == ("warning", "boot-hold")
    assert "the Node has no podCIDRs" in found.message
    assert not (tmp_path / PACKETS).exists()
    assert Boot(tmp_path, Wanted(networks=(ip_network("10.244.0.0/16"),))).keep(()) == ()


def test_ranges_that_lie_in_one_another_are_one(node: Space, tmp_path: Path) -> None:
    assert Boot(tmp_path, Wanted(networks=(ip_network("10.244.0.0/16"),))).keep(CIDRS) == ()
    assert boot(text(tmp_path, nft()))


def test_what_cannot_be_kept_is_found(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no directory")
    (found,) = Boot(tmp_path / "state", Wanted()).keep(CIDRS)
    assert "cannot be" in found.message


def test_install_enables_the_unit_and_remove_leaves_nothing(root: Path) -> None:
    before = tree(root)
    said: list[str] = []
    for _ in range(2):
        install(root, Path("/var/lib/podfence"), said.append)
    assert (root / UNITS / NAME).read_text() == text(Path("/var/lib/podfence"))
    assert (root / UNITS / "multi-user.target.wants" / NAME).resolve() == root / UNITS / NAME
    assert "from the next boot on" in said[0]
    remove(root, said.append)
    remove(root, said.append)
    assert tree(root) == sorted([*before, f"{UNITS}/multi-user.target.wants"])


def test_systemd_finds_nothing_wrong_with_the_unit(root: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("needs systemd-analyze")
    install(root, Path("/var/lib/podfence"), quiet)
    (root / UNITS / NAME).write_text(text(Path("/var/lib/podfence"), "/bin/true"))
    done = subprocess.run(
        ("systemd-analyze", "verify", root / UNITS / NAME), capture_output=True, text=True, check=False
    )
    assert (done.returncode, NAME in done.stderr) == (0, False), done.stderr


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda root: shutil.rmtree(root / "etc/systemd"), "the boot unit is for nodes that systemd starts"),
        (lambda root: (root / "usr/sbin/nft").unlink(), "does not have the program nft"),
        (lambda root: (root / UNITS / NAME).write_text("[Unit]\n"), "podfence did not create"),
        (lambda root: (root / UNITS / f"{NAME}.partial").mkdir(), "cannot be written: Is a directory"),
    ],
)
def test_a_node_that_cannot_have_the_unit_is_left_as_it_was_and_the_reason_told(
    root: Path, tmp_path: Path, spoil: object, why: str
) -> None:
    assert callable(spoil)
    spoil(root)
    before = tree(root)
    with pytest.raises(RefusedError, match=why):
        install(root, Path("/var/lib/podfence"), quiet)
    assert set(tree(root)) - {f"{UNITS}/multi-user.target.wants"} == set(before)


def test_a_path_that_a_unit_cannot_name_is_refused(root: Path) -> None:
    with pytest.raises(RefusedError, match="cannot be named in a unit"):
        install(root, Path("/var/lib/pod fence"), quiet)


def test_a_node_whose_units_are_read_only_refuses_and_its_agent_tells(node: Space, root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    command = f"mount --bind {root}/etc {root}/etc && mount -o remount,ro,bind {root}/etc && "
    podfence = shlex.join(
        (sys.executable, "-m", "podfence", "agent", "boot-unit", "install", f"--root={root}", f"--state-dir={state}")
    )
    refused, left = (
        subprocess.run(
            ("unshare", "--mount", "sh", "-c", f"{command}{podfence} {more}"),
            capture_output=True,
            text=True,
            check=False,
        )
        for more in ("", "--leave-to-agent")
    )
    assert refused.returncode == 2
    assert refused.stderr == "podfence: error: /etc/systemd/system cannot be written: Read-only file system\n"
    assert left.returncode == 0
    (found,) = Boot(state, Wanted()).keep(CIDRS)
    assert "Read-only file system" in found.message
    install_or_note(root, state, quiet)
    assert Boot(state, Wanted()).keep(CIDRS) == ()


def test_cleanup_removes_the_unit_its_files_and_what_it_loaded(node: Space, root: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    install_or_note(root, state, quiet)
    Boot(state, Wanted()).keep(CIDRS)
    unit = text(state, nft())
    assert boot(unit)
    said: list[str] = []
    cleanup(said.append, run=tmp_path / "run", state=state, root=root)
    assert not is_held()
    assert not state.exists()
    assert not (root / UNITS / NAME).exists()
    assert "deleted table inet podfence_hold: pods are no longer blocked" in said
    assert f"removed /{UNITS}/{NAME}" in said
    assert not boot(unit)
