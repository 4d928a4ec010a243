# SPDX-License-Identifier: Apache-2.0
"""The fake and the real nft carry out the same random transactions, one after another, and hold the same after each."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from podfence.nft.chain import Chain
from podfence.nft.element import DROP, Element, goto, jump
from podfence.nft.rule import Rule
from podfence.nft.sets import Elements, Map, Set
from podfence.nft.transaction import Object, Transaction
from tests.nft.comparison import (
    BLOCKS,
    FORWARD,
    HASH,
    PAIRS,
    PEERS,
    RANGES,
    C,
    D,
    T,
    anonymous,
    base,
    held,
    new,
    outcome,
    refusal,
)
from tests.nft.fake import FakeRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from podfence.nft.process import NftRunner
    from podfence.nft.runner import Contents

ADDRESSES = [f"10.0.0.{number}" for number in (0, 1, 2, 3, 4, 7, 8)]
CHAINS = st.sampled_from(["forward", "c", "d_", "e"])
TARGETS = st.sampled_from(["c", "d_", "e"])
VERDICTS = st.one_of(st.just(DROP), TARGETS.map(goto), TARGETS.map(jump))
CONTAINERS: st.SearchStrategy[Set | Map] = st.sampled_from([HASH, RANGES, PEERS, BLOCKS])
TEXTS = st.one_of(
    st.sampled_from(
        ["accept", "counter drop", "ip saddr @h accept", "ip saddr vmap @m", "ip saddr vmap @b", "ip saddr @r drop"]
    ),
    TARGETS.map("jump {}".format),
    TARGETS.map("ip daddr 10.0.0.1 goto {}".format),
)


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    name = draw(CHAINS)
    return FORWARD if name == "forward" else Chain(name)


@st.composite
def elements(draw: st.DrawFn) -> Elements:
    container = draw(CONTAINERS)
    items = []
    for _ in range(draw(st.integers(1, 3))):
        ends = sorted(draw(st.tuples(st.integers(0, 6), st.integers(0, 6))))
        first, last = ADDRESSES[ends[0]], ADDRESSES[ends[1] if "interval" in container.flags else ends[0]]
        value = draw(VERDICTS) if isinstance(container, Map) else None
        items.append(Element((first,), (last,), value))
    return Elements(container, tuple(items))


@st.composite
def operations(draw: st.DrawFn, present: tuple[Rule, ...]) -> Callable[[Transaction], Transaction]:
    """Return an operation; `present` are rules that can be deleted."""
    kind = draw(st.sampled_from(["element"] * 4 + ["rule"] * 3 + ["chain", "container", "by handle", "table"]))
    item: Object
    verb = draw(st.sampled_from(["add", "add", "add", "delete", "flush"]))
    if kind == "table":
        verb, item = "flush", T
    elif kind == "chain":
        item = draw(chains())
    elif kind == "container":
        item = draw(CONTAINERS)
    elif kind == "element":
        verb, item = "delete" if verb == "flush" else verb, draw(elements())
    elif kind == "by handle" and present:
        verb, item = "delete", draw(st.sampled_from(present))
    else:
        verb, item = "add", Rule(draw(CHAINS), draw(TEXTS))
    return lambda transaction: getattr(transaction, verb)(item)


def test_nft_and_the_fake_agree_on_random_transactions(real: NftRunner) -> None:
    seen: Counter[str] = Counter()

    class Comparison(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.fake = FakeRunner()
            empty = base().delete(T).add(T, FORWARD, C, D, Chain("e"), HASH, RANGES, PAIRS, PEERS, BLOCKS)
            for runner in (real, self.fake):
                runner.run(empty)
            self.handles: dict[int | None, int | None] = {}

        @rule(data=st.data())
        def transaction(self, data: st.DataObject) -> None:
            wanted = new()
            for step in data.draw(st.lists(operations(present(self.fake.contents(T))), min_size=1, max_size=5)):
                step(wanted)
            asked = translated(wanted, self.handles)
            refused = refusal(self.fake, wanted)
            seen["refused" if refused else "accepted"] += 1

            assert (outcome(real, asked) is None) == (refused is None), str(wanted)
            if refused is not None:
                # nft looks at the whole script before the kernel does, so it may have told of a later line.
                start = translated(wanted, self.handles, refused.line)
                assert outcome(real, start) is type(refused), f"{wanted}{refused}"

            found = real.contents(T)
            assert anonymous(found) == held(self.fake), str(wanted)
            pairs = zip(present(self.fake.contents(T)), present(found), strict=True)
            self.handles = {ours.handle: theirs.handle for ours, theirs in pairs}

    run_state_machine_as_test(
        Comparison,
        settings=settings(max_examples=40, stateful_step_count=10, suppress_health_check=list(HealthCheck)),
    )

    assert min(seen["accepted"], seen["refused"]) >= 50


def present(contents: Contents) -> tuple[Rule, ...]:
    return tuple(rule for chain in sorted(contents.rules) for rule in contents.rules[chain])


def translated(wanted: Transaction, handles: dict[int | None, int | None], lines: int | None = None) -> Transaction:
    """Return the first `lines` of the same transaction with the other runner's handles of rules."""
    result = Transaction(wanted.table)
    for verb, item in list(wanted.commands())[:lines]:
        other = replace(item, handle=handles.get(item.handle)) if isinstance(item, Rule) and item.handle else item
        getattr(result, verb)(other)
    return result
