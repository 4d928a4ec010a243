# SPDX-License-Identifier: Apache-2.0
"""What all tests share: the place of the checkout, and one profile for generated cases."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import hypothesis
import pytest

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


_MEASURED: Final = 2
"""How many cases of a test are measured by coverage, the first of them: measuring makes them take twice as long."""

_unmeasured: Final[set[str]] = set()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose what coverage does not measure: random examples, and the later rows of a table."""
    seen: Counter[str] = Counter()
    for item in items:
        name = item.nodeid.partition("[")[0]
        seen[name] += 1
        if seen[name] > _MEASURED or hypothesis.is_hypothesis_test(getattr(item, "obj", None)):
            _unmeasured.add(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    """Run a test, its fixtures and the programs that they start without coverage if it is not to be measured."""
    if item.nodeid not in _unmeasured:
        return (yield)
    with _no_coverage():
        return (yield)


@contextmanager
def _no_coverage() -> Iterator[None]:
    here, in_threads = sys.gettrace(), threading.gettrace()
    told = os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        sys.settrace(here)
        threading.settrace(in_threads)
        if told is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = told
