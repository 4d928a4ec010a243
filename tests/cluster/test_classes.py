# SPDX-License-Identifier: Apache-2.0
"""The index of classes against a plain loop over members, however it came to its state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.cluster.classes import ClassIndex
from podfence.cluster.members import Member, member_of_pod
from podfence.cluster.selection import Selection
from podfence.kube.objects import Namespace, Pod, Requirement, Selector
from podfence.sets import AddressSet, members
from podfence.sets.addresses import family_of
from tests.cluster.parts import pod
from tests.twin import strategies
from tests.twin.effort import tried

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hypothesis.strategies import DrawFn

    from podfence.kube.objects import Key, Labels

SPACES = strategies.NAMESPACES[:3]
MANY = tried(150)


@st.composite
def selections(draw: DrawFn) -> Selection:
    """Return a selection as policies have them: of one namespace, or of namespaces by label."""
    pods = draw(st.one_of(st.none(), strategies.pod_selectors()))
    if draw(st.booleans()):
        return Selection(draw(st.sampled_from(SPACES)), None, pods)
    return Selection(None, draw(st.one_of(st.none(), strategies.namespace_selectors())), pods)


@dataclass
class World:
    """An index, and the plain facts it indexes."""

    labels: dict[str, Labels] = field(default_factory=dict)
    members: dict[Key, Member] = field(default_factory=dict)
    used: list[Selection] = field(default_factory=list)
    looks: list[tuple[list[str], list[int]]] = field(default_factory=list)
    index: ClassIndex = field(default_factory=lambda: ClassIndex({}))

    def put(self, one: Pod) -> None:
        if one.key in self.members:
            self.index.remove(one.key)
        self.members[one.key] = member_of_pod(one, None)
        self.index.add(self.members[one.key])

    def drop(self, key: Key) -> None:
        del self.members[key]
        self.index.remove(key)

    def relabel(self, space: Namespace) -> None:
        self.labels[space.name] = space.labels
        self.index.put_namespace(space.name, space.labels)

    def use(self, selection: Selection) -> None:
        self.index.look_at(selection.keys(), (), ())
        self.used.append(selection)
        self.index.bits(selection)

    def disuse(self, number: int) -> None:
        selection = self.used.pop(number)
        self.index.look_away(selection.keys(), (), ())
        if selection not in self.used:
            self.index.forget(selection)

    def look_at(self, names: Iterable[str], cuts: Iterable[int]) -> None:
        self.looks.append((list(names), list(cuts)))
        self.index.look_at((), *self.looks[-1])

    def look_away(self, number: int) -> None:
        self.index.look_away((), *self.looks.pop(number))

    def tidy(self) -> None:
        before = {key: self.index.class_of(key) for key in self.members}
        joined = self.index.tidy()
        moved = {key for key in self.members if self.index.class_of(key) is not before[key]}
        assert moved == joined.pods
        for number in joined.classes:
            found = self.index.classes.get(number)
            assert found is None or found.members.keys() & joined.pods

    def meant(self, selection: Selection) -> set[Key]:
        return {
            key
            for key, member in self.members.items()
            if selection.matches_namespace(member.namespace, self.labels[member.namespace])
            and selection.matches_labels(member.labels)
        }

    def keys_of(self, bits: int) -> set[Key]:
        return {key for number in members(bits) for key in self.index.classes[number].members}


@st.composite
def steps(draw: DrawFn, world: World) -> None:
    """Draw one thing that happens to the world, and let it happen."""
    kind = draw(
        st.sampled_from(("put", "put", "drop", "relabel", "use", "use", "disuse", "names", "cuts", "away", "tidy"))
    )
    space = draw(st.sampled_from(SPACES))
    match kind:
        case "put":
            world.put(draw(strategies.pods(space, draw(st.sampled_from(strategies.POD_NAMES)))))
        case "drop" if world.members:
            world.drop(draw(st.sampled_from(sorted(world.members))))
        case "relabel":
            world.relabel(draw(strategies.namespaces(space)))
        case "use":
            world.use(draw(selections()))
        case "disuse" if world.used:
            world.disuse(draw(st.integers(0, len(world.used) - 1)))
        case "away" if world.looks:
            world.look_away(draw(st.integers(0, len(world.looks) - 1)))
        case "tidy":
            world.tidy()
        case "names":
            world.look_at([draw(st.sampled_from(strategies.PORT_NAMES))], ())
        case "cuts":
            block = draw(strategies.blocks())
            world.look_at((), AddressSet.block(block.cidr, block.excepts).cuts())


def check_invariants(world: World) -> None:
    index = world.index
    assert world.keys_of(index.all) == set(world.members)
    assert set(index.classes) == set(members(index.all))
    for selection in world.used:
        assert world.keys_of(index.bits(selection)) == world.meant(selection), selection
    for space in SPACES:
        inside = {key for key in world.members if key.namespace == space}
        assert world.keys_of(index.in_namespace(space)) == inside
    for number, found in index.classes.items():
        assert found.id == number
        assert found.members
        for key, member in found.members.items():
            assert index.class_of(key) is found
            assert member.namespace == found.namespace
            assert found.labels.items() <= member.labels.items()
    assert world.keys_of(index.unaddressed) == {key for key, member in world.members.items() if not member.addresses}
    assert index.families() == {family_of(n) for member in world.members.values() for n in member.addresses}


@MANY
@given(data=st.data(), patience=st.sampled_from((0, 2, 64)))
def test_selections_mean_what_a_loop_over_members_finds_after_every_step(data: st.DataObject, patience: int) -> None:
    world = World()
    world.index.looks.patience = patience
    for space in SPACES:
        world.relabel(data.draw(strategies.namespaces(space)))
    for _ in range(data.draw(st.integers(1, 12))):
        data.draw(steps(world))
        check_invariants(world)


@MANY
@given(data=st.data(), family=st.sampled_from((4, 6)))
def test_addresses_mean_what_a_loop_over_members_finds(data: st.DataObject, family: Literal[4, 6]) -> None:
    world = World({space: {} for space in SPACES})
    blocks = [AddressSet.block(one.cidr, one.excepts) for one in data.draw(st.lists(strategies.blocks(), max_size=3))]
    late = data.draw(st.booleans())
    if not late:
        world.look_at((), (cut for block in blocks for cut in block.cuts()))
    for name in strategies.POD_NAMES:
        world.put(data.draw(strategies.pods("default", name)))
    if late:
        world.look_at((), (cut for block in blocks for cut in block.cuts()))
    for block in blocks:
        expected = {
            key
            for key, member in world.members.items()
            if any(number in block and family_of(number) == family for number in member.addresses)
        }
        assert world.keys_of(world.index.with_address_in(block, family)) == expected


TERMS: list[tuple[str, Requirement, list[str]]] = [
    ("In", Requirement("a", "In", ("x",)), ["x"]),
    ("In of two", Requirement("a", "In", ("x", "y")), ["x", "y"]),
    ("In of the empty value", Requirement("a", "In", ("",)), ["empty"]),
    ("In of nothing", Requirement("a", "In", ()), []),
    ("NotIn", Requirement("a", "NotIn", ("x",)), ["absent", "empty", "y"]),
    ("NotIn of nothing", Requirement("a", "NotIn", ()), ["absent", "empty", "x", "y"]),
    ("Exists", Requirement("a", "Exists"), ["empty", "x", "y"]),
    ("DoesNotExist", Requirement("a", "DoesNotExist"), ["absent"]),
    ("other case", Requirement("a", "In", ("X",)), []),
]


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("requirement", "expected"), [case[1:] for case in TERMS], ids=[case[0] for case in TERMS])
def test_truth_table_of_requirements(requirement: Requirement, expected: list[str], late: bool) -> None:
    """Semantics 4.3 to 4.6; `late` is a selection that comes when the members are already there."""
    world = World({"shop": {}})
    world.index = ClassIndex(world.labels)
    selection = Selection("shop", None, Selector((requirement,)))
    everywhere = Selection(None, None, Selector((requirement,)))
    if not late:
        world.use(selection)
        world.use(everywhere)
    for name, labels in {"absent": {"b": "x"}, "x": {"a": "x"}, "y": {"a": "y"}, "empty": {"a": ""}}.items():
        world.put(pod(name, labels=labels))
    for used in (selection, everywhere):
        world.use(used)
        assert sorted(key.name for key in world.keys_of(world.index.bits(used))) == expected


def test_pods_that_nothing_tells_apart_are_one_class_until_something_does() -> None:
    world = World({"shop": {}})
    for number in range(10):
        world.put(pod(f"p{number}", f"10.0.0.{number}", labels={"a": str(number % 2), "b": str(number)}))
    assert len(world.index.classes) == 1

    touched = world.index.look_at(["a"], [], [])
    assert len(world.index.classes) == 2
    assert touched == set(world.index.classes)
    assert world.index.look_at(["a"], [], []) == set()
    world.index.look_at([], [], AddressSet.cidr("10.0.0.4/30").cuts())
    assert sorted(len(found.members) for found in world.index.classes.values()) == [1, 1, 2, 2, 2, 2]


def test_numbers_of_classes_are_used_again() -> None:
    world = World({"shop": {}})
    world.index.look_at(["a"], [], [])
    for round_number in range(5):
        for value in "xyz":
            world.put(pod(value, labels={"a": f"{value}{round_number}"}))
    assert sorted(world.index.classes) == [0, 1, 2]


def test_a_selection_that_is_forgotten_is_right_when_it_is_used_again() -> None:
    world = World({"shop": {"a": "x"}})
    world.index = ClassIndex(world.labels)
    inside = Selector((Requirement("a", "In", ("x",)),))
    for selection in (Selection("shop", None, inside), Selection(None, inside, None)):
        world.use(selection)
        world.index.forget(selection)
        world.put(pod("p", labels={"a": "x"}))
        assert world.keys_of(world.index.bits(selection)) == world.meant(selection) == {pod("p").key}
        world.drop(pod("p").key)


def test_pods_that_nothing_tells_apart_any_more_are_one_class_again() -> None:
    world = World({"shop": {}})
    index = world.index
    for number in range(10):
        world.put(pod(f"p{number}", f"10.0.0.{number}", labels={"a": str(number % 2), "b": str(number)}))
    look = ["a", "b"], ["http"], AddressSet.cidr("10.0.0.4/30").cuts()
    index.looks.patience = 0
    before = world_tables(index)
    index.look_at(*look)
    index.look_at(["a"], [], [])
    assert len(index.classes) == 10

    index.look_away(*look)
    assert index.tidy().pods
    assert sorted(found.labels["a"] for found in index.classes.values()) == ["0", "1"]
    index.look_away(["a"], [], [])
    index.tidy()
    assert len(index.classes) == 1
    assert world_tables(index) == before


def world_tables(index: ClassIndex) -> list[int]:
    """Return how much there is in every table of an index."""
    sizes = [len(table) for table in vars(index).values() if isinstance(table, dict)]
    return [*sizes, *(len(table) for table in vars(index.looks).values() if isinstance(table, dict | list))]


def test_what_is_replaced_again_and_again_is_given_up_in_between() -> None:
    world = World({"shop": {}})
    index = world.index
    for number in range(20):
        world.put(pod(f"p{number}", f"10.0.0.{number}", labels={"a": str(number)}))
    most = 0
    for number in range(2_000):
        cuts = AddressSet.single(number * 10).cuts()
        index.look_at([f"k{number}"], [f"n{number}"], cuts)
        index.look_away([f"k{number}"], [f"n{number}"], cuts)
        index.tidy()
        most = max(most, *world_tables(index))
    assert most < 200
