# SPDX-License-Identifier: Apache-2.0
"""The elements of one set or map of the fake, and which ones nft refuses there."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from podfence.nft.datatypes import DATATYPES
from podfence.nft.element import Element, Verdict
from podfence.nft.errors import AlreadyExistsError, ConflictError, InvalidError, NftError, NotFoundError
from podfence.nft.sets import Map, Set, canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Point = tuple[int, ...]
Span = tuple[Point, Point]


@dataclass(slots=True)
class Store:
    """A set or map with its elements by first and last key; `order` is sorted, for intervals of one part."""

    container: Set | Map
    elements: dict[Span, Element] = field(default_factory=dict)
    order: list[Span] = field(default_factory=list)

    def copy(self) -> Store:
        """Return a store that changes apart from this one."""
        return Store(self.container, dict(self.elements), list(self.order))

    def add(self, items: Iterable[Element], enter: Callable[[Element], None]) -> list[Element]:
        """Add the elements and return those that were there; raise what nft would say of the first refused one.

        `enter` is called with each, as the kernel looks for its chain before it looks for its key.
        """
        spans = [(self._span(item), item) for item in items]
        if self._ranged and len(self.container.types) == 1:
            self._refuse_overlaps([span for span, _ in spans])
        there = []
        for span, item in spans:
            if isinstance(self.container, Map) and item.value is None:
                raise NftError("Could not process rule: Invalid argument")
            enter(item)
            present = self.elements.get(span)
            if present is None and self._ranged and len(span[0]) > 1:
                self._refuse_shared_ends(span)
            if present is not None and present.value != item.value:
                raise AlreadyExistsError("Could not process rule: File exists")
            if present is None:
                self.elements[span] = item
                insort(self.order, span)
            else:
                there.append(item)
        return there

    def delete(self, items: Iterable[Element]) -> list[Element]:
        """Delete the elements and return them as they were; raise NotFoundError for the first that is absent."""
        deleted = []
        for item in items:
            span = self._span(replace(item, value=None, timeout=None))
            if span not in self.elements:
                raise NotFoundError("Could not process rule: No such file or directory")
            deleted.append(self.elements.pop(span))
            del self.order[bisect_left(self.order, span)]
        return deleted

    def flush(self) -> list[Element]:
        """Delete all elements and return them."""
        deleted = list(self.elements.values())
        self.elements.clear()
        self.order.clear()
        return deleted

    def targets(self) -> Counter[str]:
        """Return the chains that verdicts lead to, with how often."""
        verdicts = (item.value for item in self.elements.values())
        return Counter(value.chain for value in verdicts if isinstance(value, Verdict) and value.chain)

    @property
    def _ranged(self) -> bool:
        return "interval" in self.container.flags

    def _span(self, item: Element) -> Span:
        """Return the numbers of a key; raise NftError if it does not fit this container."""
        try:
            fitting = canonical(self.container, item)
        except InvalidError as error:
            raise NftError(f"Could not process rule: Invalid argument: {error}") from error
        kinds = [DATATYPES[name] for name in self.container.types]
        first = tuple(kind.number(part) for kind, part in zip(kinds, fitting.key, strict=True))
        if fitting.end is None:
            return first, first
        return first, tuple(kind.number(part) for kind, part in zip(kinds, fitting.end, strict=True))

    def _refuse_overlaps(self, spans: list[Span]) -> None:
        """Raise ConflictError if one of the intervals overlaps another or a present one; an equal one is none."""
        for span in spans:
            place = bisect_left(self.order, span)
            for other in self.order[max(0, place - 1) : place + 1]:
                if other != span and other[0] <= span[1] and span[0] <= other[1]:
                    raise ConflictError("interval overlaps with an existing one")
        together = sorted(set(spans))
        if any(second[0] <= first[1] for first, second in pairwise(together)):
            raise ConflictError("conflicting intervals specified")

    def _refuse_shared_ends(self, span: Span) -> None:
        """Raise AlreadyExistsError if an end of `span` is in a present element; the kernel looks at no more."""
        for first, last in self.order:
            for end in span:
                if all(low <= part <= high for low, part, high in zip(first, end, last, strict=True)):
                    raise AlreadyExistsError("Could not process rule: File exists")
