# SPDX-License-Identifier: Apache-2.0
"""The boundary to libyaml: PyYAML's C parser as a typed stream of events.

To import PyYAML takes about 15 ms, so this module is imported where YAML is read, and not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from yaml import events as kinds
from yaml._yaml import CParser

if TYPE_CHECKING:
    from collections.abc import Iterator

SCALAR: Final[type] = kinds.ScalarEvent
ALIAS: Final[type] = kinds.AliasEvent
MAPPING_START: Final[type] = kinds.MappingStartEvent
MAPPING_END: Final[type] = kinds.MappingEndEvent
SEQUENCE_START: Final[type] = kinds.SequenceStartEvent
SEQUENCE_END: Final[type] = kinds.SequenceEndEvent
DOCUMENT_END: Final[type] = kinds.DocumentEndEvent


class Mark(Protocol):
    """A place in the text: the offset in characters from its start."""

    index: int


class Event(Protocol):
    """Any libyaml event; which attributes it has depends on its class.

    `start_mark` and `end_mark` are where its text begins, anchor and tag included, and where it ends. `anchor` is the
    anchor of a node, or the name an alias refers to. `implicit` says whether a scalar is plain without a tag, and
    whether it is quoted without a tag; `style` is empty for a plain one, else its first character. `flow_style` says
    whether a collection is written with brackets.
    """

    start_mark: Mark
    end_mark: Mark
    anchor: str | None
    tag: str | None
    value: str
    implicit: tuple[bool, bool]
    flow_style: bool
    style: str | None


def events(text: str) -> Iterator[Event]:
    """Return the events of `text`; the iterator raises PyYAML's MarkedYAMLError and ReaderError."""
    return cast("Iterator[Event]", iter(CParser(text).get_event, None))
