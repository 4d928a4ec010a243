# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.agent.node.kept import Held, Kept, KeptError
from podfence.cluster.state import EventType
from podfence.kube.objects import Namespace, Pod, PodTemplate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from podfence.kube.objects import Key


def pod(name: str, address: str = "10.0.0.1") -> Pod:
    return Pod(namespace="shop", name=name, template=PodTemplate(labels={"app": name}), addresses=(address,))


def plain(found: dict[Key, Held]) -> dict[str, tuple[str, str]]:
    """Return what tests compare: name to address and revision."""
    return {key.name: (",".join(getattr(held.object, "addresses", ())), held.revision) for key, held in found.items()}


@pytest.fixture
def opened() -> Iterator[Callable[..., Kept]]:
    """Give what opens the state of a directory; all are closed in the end."""
    found: list[Kept] = []

    def opening(directory: Path, identity: str = "n1 cluster", decoder: str = "1.0") -> Kept:
        found.append(Kept(directory, identity, decoder))
        return found[-1]

    yield opening
    for kept in found:
        kept.close()


def reader(directory: Path, identity: str = "n1 cluster", decoder: str = "1.0") -> dict[str, tuple[str, str]]:
    return plain(Kept(directory, identity, decoder).load())


def test_nothing_is_kept_at_first(tmp_path: Path) -> None:
    assert reader(tmp_path / "new") == {}


def test_what_changed_after_the_base_is_there_for_the_next_agent(tmp_path: Path, opened: Callable[..., Kept]) -> None:
    kept = opened(tmp_path)
    web, db = pod("web"), pod("db")
    kept.start({web.key: Held(web, "1"), db.key: Held(db, "2")})
    kept.note([(EventType.MODIFIED, pod("web", "10.0.0.9"), "3"), (EventType.DELETED, db, "4")])
    kept.note([(EventType.ADDED, pod("api", "10.0.0.5"), "5")])

    assert reader(tmp_path) == {"web": ("10.0.0.9", "3"), "api": ("10.0.0.5", "5")}


def test_objects_come_back_as_they_were(tmp_path: Path, opened: Callable[..., Kept]) -> None:
    space = Namespace(name="shop", labels={"a": "b"}, annotations={"c": "d"})
    opened(tmp_path).start({space.key: Held(space, "7")})

    found = opened(tmp_path).load()[space.key]

    assert isinstance(found.object, Namespace)
    assert (found.object.labels, found.object.annotations, found.revision) == (space.labels, space.annotations, "7")


def test_the_state_of_another_cluster_is_not_taken(tmp_path: Path, opened: Callable[..., Kept]) -> None:
    web = pod("web")
    opened(tmp_path).start({web.key: Held(web, "1")})

    assert reader(tmp_path, "n1 another") == {}


@pytest.mark.parametrize("cut", [1, 5, 9, 30])
def test_a_log_that_was_cut_off_is_read_as_far_as_it_is_whole(
    tmp_path: Path, opened: Callable[..., Kept], cut: int
) -> None:
    kept = opened(tmp_path)
    kept.start({})
    kept.note([(EventType.ADDED, pod("web"), "1")])
    kept.note([(EventType.ADDED, pod("api"), "2")])
    kept.close()
    log = tmp_path / "log-1"
    log.write_bytes(log.read_bytes()[:-cut])

    assert reader(tmp_path) == {"web": ("10.0.0.1", "1")}


def test_a_damaged_change_ends_what_is_read(tmp_path: Path, opened: Callable[..., Kept]) -> None:
    kept = opened(tmp_path)
    kept.start({})
    kept.note([(EventType.ADDED, pod("web"), "1")])
    kept.close()
    log = tmp_path / "log-1"
    data = bytearray(log.read_bytes())
    data[-3] ^= 0xFF
    log.write_bytes(data)

    assert reader(tmp_path) == {}


def test_a_base_that_was_not_finished_leaves_the_one_before_with_both_logs(
    tmp_path: Path, opened: Callable[..., Kept]
) -> None:
    kept = opened(tmp_path)
    web = pod("web")
    kept.start({web.key: Held(web, "1")})
    kept.note([(EventType.ADDED, pod("api"), "2")])
    kept.next_generation()
    kept.note([(EventType.ADDED, pod("db"), "3")])
    (tmp_path / "base-2.partial").write_bytes(b"half")

    assert sorted(reader(tmp_path)) == ["api", "db", "web"]


def test_a_new_base_replaces_the_generations_before(tmp_path: Path, opened: Callable[..., Kept]) -> None:
    kept = opened(tmp_path)
    web, api = pod("web"), pod("api")
    kept.start({web.key: Held(web, "1")})
    kept.note([(EventType.ADDED, api, "2")])
    number = kept.next_generation()
    kept.note([(EventType.DELETED, web, "1")])
    kept.write_base(number, {web.key: Held(web, "1"), api.key: Held(api, "2")})

    assert sorted(path.name for path in tmp_path.iterdir()) == ["base-2", "log-2"]
    assert sorted(reader(tmp_path)) == ["api"]


def test_a_log_becomes_long(tmp_path: Path, opened: Callable[..., Kept], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("podfence.agent.node.kept.LONGEST_LOG", 100)
    kept = opened(tmp_path)
    kept.start({})
    before = kept.is_long()
    kept.note([(EventType.ADDED, pod("web"), "1")])

    assert (before, kept.is_long()) == (False, True)


def test_a_directory_that_is_none_is_named(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    kept = Kept(place / "state", "n1 cluster", "1.0")

    with pytest.raises(KeptError, match=r"file/state: Not a directory"):
        kept.load()


def test_nothing_is_noted_before_the_start(tmp_path: Path, opened: Callable[..., Kept]) -> None:
    with pytest.raises(KeptError, match="the log of changes is not open"):
        opened(tmp_path).note([])


def test_what_has_a_gap_is_discarded(tmp_path: Path, opened: Callable[..., Kept]) -> None:
    kept = opened(tmp_path)
    web = pod("web")
    kept.start({web.key: Held(web, "1")})
    kept.discard()

    assert reader(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_what_another_decoder_read_is_enforced_and_nothing_of_it_is_known(
    tmp_path: Path, opened: Callable[..., Kept]
) -> None:
    kept = opened(tmp_path)
    web = pod("web")
    kept.start({web.key: Held(web, "1")})
    kept.note([(EventType.ADDED, pod("api"), "2")])

    assert reader(tmp_path, decoder="1.1") == {"web": ("10.0.0.1", ""), "api": ("10.0.0.1", "")}
    assert reader(tmp_path) == {"web": ("10.0.0.1", "1"), "api": ("10.0.0.1", "2")}


@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_logs_are_read_up_to_the_first_hole(tmp_path: Path, opened: Callable[..., Kept], damage: str) -> None:
    kept = opened(tmp_path)
    kept.start({})
    kept.note([(EventType.ADDED, pod("a"), "1")])
    kept.note([(EventType.ADDED, pod("b"), "2")])
    kept.next_generation()
    kept.note([(EventType.ADDED, pod("c"), "3")])
    kept.close()
    log = tmp_path / "log-1"
    data = bytearray(log.read_bytes())
    if damage == "gone":
        log.unlink()
    elif damage == "cut":
        log.write_bytes(data[:-12])
    else:
        data[-12] ^= 0xFF
        log.write_bytes(data)

    assert sorted(reader(tmp_path)) == ([] if damage == "gone" else ["a"])


def test_a_base_that_was_being_written_when_all_was_discarded_is_not_left_behind(
    tmp_path: Path, opened: Callable[..., Kept]
) -> None:
    kept = opened(tmp_path)
    web = pod("web")
    kept.start({web.key: Held(web, "1")})
    number = kept.next_generation()

    class Slow(dict["Key", Held]):
        def values(self) -> object:  # type: ignore[override]
            kept.discard()
            return super().values()

    kept.write_base(number, Slow({web.key: Held(web, "1")}))

    assert list(tmp_path.iterdir()) == []
    kept.start({web.key: Held(web, "9")})
    assert reader(tmp_path) == {"web": ("10.0.0.1", "9")}


def test_what_could_not_be_begun_leaves_what_was_there(tmp_path: Path, opened: Callable[..., Kept]) -> None:
    web = pod("web")
    opened(tmp_path).start({web.key: Held(web, "1")})
    kept = opened(tmp_path)
    (tmp_path / "base-2.partial").mkdir()

    with pytest.raises(KeptError, match="Is a directory"):
        kept.start({})
    assert reader(tmp_path) == {"web": ("10.0.0.1", "1")}
