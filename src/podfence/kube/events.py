# SPDX-License-Identifier: Apache-2.0
"""The boundary to libyaml: PyYAML's C parser as a typed stream of events.

PyYAML is imported on first use, because a command that reads no YAML should not wait for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, cast


class Mark(Protocol):
    """A place in the text: a character offset."""

    @property
    def index(self) -> int:
        """The offset in characters from the start of the text."""


class Event(Protocol):
    """Any libyaml event; which attributes it has depends on its class."""

    @property
    def start_mark(self) -> Mark:
        """Where the event's text begins, anchor and tag included."""

    @property
    def end_mark(self) -> Mark:
        """Where the event's text ends."""

    @property
    def anchor(self) -> str | None:
        """The anchor of a node, or the name an alias refers to."""

    @property
    def tag(self) -> str | None:
        """The tag of a node."""

    @property
    def value(self) -> str:
        """The text of a scalar."""

    @property
    def implicit(self) -> tuple[bool, bool]:
        """Whether a scalar is plain without a tag, and whether it is quoted without a tag."""

    @property
    def flow_style(self) -> bool:
        """Whether a collection is written with brackets."""

    @property
    def style(self) -> str | None:
        """How a scalar is written: empty for plain, else its first character."""


class _Parser(Protocol):
    def get_event(self) -> Event | None: ...


class Library(NamedTuple):
    """What is used of PyYAML."""

    parser: Callable[[str], _Parser]
    scalar: type
    alias: type
    mapping_start: type
    mapping_end: type
    sequence_start: type
    sequence_end: type
    document_start: type
    document_end: type
    marked_error: type[Exception]
    reader_error: type[Exception]

    def events(self, text: str) -> Iterator[Event]:
        """Return the events of `text`; the iterator raises `marked_error` and `reader_error`."""
        return iter(self.parser(text).get_event, None)


def library() -> Library:
    """Return PyYAML's C parser and its event classes; the first call imports them (about 15 ms)."""
    c_parser = importlib.import_module("yaml._yaml")
    events = importlib.import_module("yaml.events")
    return Library(
        parser=cast("Callable[[str], _Parser]", c_parser.CParser),
        scalar=events.ScalarEvent,
        alias=events.AliasEvent,
        mapping_start=events.MappingStartEvent,
        mapping_end=events.MappingEndEvent,
        sequence_start=events.SequenceStartEvent,
        sequence_end=events.SequenceEndEvent,
        document_start=events.DocumentStartEvent,
        document_end=events.DocumentEndEvent,
        marked_error=importlib.import_module("yaml.error").MarkedYAMLError,
        reader_error=importlib.import_module("yaml.reader").ReaderError,
    )
