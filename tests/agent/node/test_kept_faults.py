# SPDX-License-Identifier: Apache-2.0
"""What is on the disk after a power cut at any byte of any file, and after a disk that was full at any byte.

It is always a state that the cluster was in, or nothing: never a mixture of two.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from podfence.agent.node.feed import AGAIN_AFTER, Feed
from podfence.agent.node.intake import Intake
from podfence.agent.node.kept import Held, Kept
from podfence.cluster.state import EventType
from podfence.kube.live.reflector import Removed, Stored
from podfence.kube.objects import Namespace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from podfence.kube.objects import Key

State = tuple[tuple[str, str], ...]


def space(name: str, **labels: str) -> Namespace:
    return Namespace(name=name, labels=labels)


def opened(directory: Path) -> Kept:
    return Kept(directory, "n1", "1")


def plain(held: dict[Key, Held]) -> State:
    return tuple(sorted((key.name, item.revision) for key, item in held.items()))


def on_disk(directory: Path) -> State:
    return plain(opened(directory).load())


class Written:
    """Two generations of a state, with a copy of the directory after each step; `states` are all that ever were."""

    def __init__(self, directory: Path) -> None:
        self.states: list[State] = [()]
        self.copies: list[Path] = []
        self._directory = directory
        self._held: dict[Key, Held] = {}
        self._kept = opened(directory / "kept")
        self._change("a", "1")
        self._kept.start(self._held)
        self._copy()
        for name, revision in (("b", "2"), ("a", ""), ("c", "3")):
            self._note(name, revision)
        number = self._kept.next_generation()
        before = dict(self._held)
        self._note("b", "4")
        self._kept.write_base(number, before)
        self._copy()
        self._note("c", "")
        self._kept.close()

    def _change(self, name: str, revision: str) -> None:
        """Give an object of the cluster another revision, or take it away."""
        item = space(name)
        self._held.pop(item.key, None)
        if revision:
            self._held[item.key] = Held(item, revision)
        self.states.append(plain(self._held))

    def _note(self, name: str, revision: str) -> None:
        self._change(name, revision)
        self._kept.note([(EventType.MODIFIED if revision else EventType.DELETED, space(name), revision)])
        self._copy()

    def _copy(self) -> None:
        self.copies.append(self._directory / f"copy{len(self.copies)}")
        shutil.copytree(self._directory / "kept", self.copies[-1])
        assert on_disk(self.copies[-1]) == self.states[-1]


def test_after_a_power_cut_at_any_byte_of_any_file_the_disk_has_a_state_that_was(tmp_path: Path) -> None:
    written = Written(tmp_path)
    was = set(written.states)
    found: set[State] = set()
    for path in (path for copy in written.copies for path in copy.iterdir()):
        whole = path.read_bytes()
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            found.add(on_disk(path.parent))
        path.write_bytes(whole)
    assert found <= was
    assert len(found) > len(was) // 2


def test_a_byte_that_is_another_is_a_hole_wherever_it_is(tmp_path: Path) -> None:
    written = Written(tmp_path)
    was = set(written.states)
    for path in written.copies[-1].iterdir():
        whole = path.read_bytes()
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
            assert on_disk(path.parent) in was, (path.name, place)
        path.write_bytes(whole)


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond so many bytes: the kernel writes what there is room for, and refuses."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Source:
    def put(self, _: object) -> None:
        pass


async def full_from(size: int, directory: Path, later: Callable[[], None]) -> bool:
    """Run a feed on a disk that is full from some byte of a file on, and then has room; return if it was refused."""
    before = opened(directory)
    before.start({space("a").key: Held(space("a"), "1")})
    before.close()
    said: list[str] = []
    intake = Intake()
    feed = Feed(intake, Source(), opened(directory), said.append, lambda: None, lambda: None)  # type: ignore[arg-type]

    async def delivered(change: Stored | Removed) -> State:
        feed._deliver([change])
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})
        return on_disk(directory)

    with at_most(size):
        feed.restore()
        assert on_disk(directory) == (("a", "1"),)
        for change in (Stored(space("b"), "2"), Removed(space("a").key, None), Stored(space("b", x="y"), "3")):
            assert await delivered(change) in ((), plain(intake.held)), size
    later()
    assert await delivered(Stored(space("c"), "4")) == plain(intake.held) == (("b", "3"), ("c", "4"))
    feed.close()
    return bool(said)


def test_a_disk_that_is_full_at_any_byte_has_the_last_state_or_nothing_and_all_of_it_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0

    def later() -> None:
        nonlocal now
        now += AGAIN_AFTER

    monkeypatch.setattr("podfence.agent.node.feed.time.monotonic", lambda: now)
    # A new base after each change or two.
    monkeypatch.setattr("podfence.agent.node.kept.LONGEST_LOG", 0)
    size = 0
    while asyncio.run(full_from(size, tmp_path / str(size), later)):
        size += 1
    assert size > 100
