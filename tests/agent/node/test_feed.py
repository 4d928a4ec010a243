# SPDX-License-Identifier: Apache-2.0
"""What is kept on a disk that is full: the last state as long as it is the last, and everything again when there is room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.agent.node.feed import AGAIN_AFTER, Feed
from podfence.agent.node.intake import Intake
from podfence.agent.node.kept import Held, Kept, KeptError
from podfence.kube.live.reflector import Stored
from podfence.kube.objects import Namespace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from podfence.agent.source import Notice
    from podfence.kube.objects import Key


class Source:
    def put(self, notices: Sequence[Notice]) -> None:
        pass


class FullDisk(Kept):
    """A disk on which nothing can be begun while it is full."""

    is_full = True

    def start(self, state: Mapping[Key, Held]) -> None:
        if self.is_full:
            raise KeptError("No space left on device")
        super().start(state)


def space(name: str) -> Namespace:
    return Namespace(name=name, labels={})


def kept_names(directory: Path) -> list[str]:
    return sorted(key.name for key in Kept(directory, "n1", "1").load())


@pytest.fixture
def disk(tmp_path: Path) -> FullDisk:
    before = Kept(tmp_path, "n1", "1")
    before.start({space("a").key: Held(space("a"), "1")})
    before.close()
    return FullDisk(tmp_path, "n1", "1")


def test_a_full_disk_at_the_start_leaves_the_only_copy(tmp_path: Path, disk: FullDisk) -> None:
    said: list[str] = []
    feed = Feed(Intake(), Source(), disk, said.append, lambda: None, lambda: None)  # type: ignore[arg-type]
    feed.restore()

    assert kept_names(tmp_path) == ["a"]
    assert "No space left on device; the state on the disk stays until something changes" in said[0]


def test_what_is_not_the_last_state_any_more_goes_and_all_is_kept_again_when_there_is_room(
    tmp_path: Path, disk: FullDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("podfence.agent.node.feed.time.monotonic", lambda: now[0])
    feed = Feed(Intake(), Source(), disk, lambda _: None, lambda: None, lambda: None)  # type: ignore[arg-type]
    feed.restore()
    feed._deliver([stored("b")])
    assert kept_names(tmp_path) == []

    disk.is_full = False
    feed._deliver([stored("c")])
    assert kept_names(tmp_path) == []
    now[0] += AGAIN_AFTER
    feed._deliver([stored("d")])
    feed._deliver([stored("e")])
    assert kept_names(tmp_path) == ["a", "b", "c", "d", "e"]
    feed.close()


def stored(name: str) -> Stored:
    return Stored(space(name), "2")
