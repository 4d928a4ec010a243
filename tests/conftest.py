# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the place of the checkout, and one profile for generated cases."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis
import pytest

from tests.differing import told
from tests.twin.effort import LONG

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

# A deadline measures the machine and its neighbours; print_blob lets a failure be replayed anywhere.
# The same cases on every run, so that a change is judged by its own failures; `make test-long` looks for new ones.
hypothesis.settings.register_profile("podfence", deadline=None, print_blob=True, derandomize=not LONG)
hypothesis.settings.load_profile("podfence")

# What a shell starts in the background ignores interrupts, and so would the programs that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the root of the checkout."""
    return Path(__file__).resolve().parent.parent


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Return what differs where two large collections should be equal."""
    return told(left, right) if op == "==" else None


_MEASURED: Final = 25
"""How many cases of a test are measured by coverage, the first of them: measuring makes them take twice as long."""

_PROGRAMS: Final = 2
"""In how many cases of a file the programs that they start are measured, the first of them.

Each process of a lab, also every pod, would write a file of its own when it ends. That takes more time than the lab.
"""

_MUCH: Final = {"given", "run_state_machine_as_test", "Random", "ages", "FILLERS"}
"""What a test uses that tries very much by itself, at random mostly, or in crowds; nothing of it is measured."""

_MANY: Final = {"seed", "start", "crowd"}
"""The parameters of tests that try many random objects or pods in each case; nothing of them is measured."""

_cases: Final[dict[str, tuple[int, int]]] = {}
"""Which case each one is: of its test, and of its file."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Number the cases of each test and of each file."""
    seen: Counter[str] = Counter()
    for item in items:
        test, file = item.nodeid.partition("[")[0], item.nodeid.partition("::")[0]
        if _tries_much(item):
            _cases[item.nodeid] = sys.maxsize, sys.maxsize
        else:
            seen.update((test, file))
            _cases[item.nodeid] = seen[test], seen[file]


def _tries_much(item: pytest.Item) -> bool:
    test = getattr(item, "obj", None)
    used = {*getattr(getattr(test, "__code__", None), "co_names", ()), *getattr(item, "fixturenames", ())}
    return hypothesis.is_hypothesis_test(test) or not used.isdisjoint(_MUCH | _MANY)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Run a test and its fixtures without coverage if it is not to be measured."""
    of_test, of_file = _cases[item.nodeid]
    with ExitStack() as stack:
        if of_file > _PROGRAMS:
            stack.enter_context(_programs_not_measured())
        if of_test > _MEASURED:
            stack.enter_context(_not_measured())
        return (yield)


@contextmanager
def _programs_not_measured() -> Iterator[None]:
    told = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    try:
        yield
    finally:
        if told is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = told


@contextmanager
def _not_measured() -> Iterator[None]:
    here, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        sys.settrace(here)
        threading.settrace(in_threads)
