# SPDX-License-Identifier: Apache-2.0
"""A list of operations that the kernel carries out together or not at all."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from podfence.nft.chain import Chain
from podfence.nft.errors import InvalidError
from podfence.nft.rule import Rule
from podfence.nft.sets import Elements, Map, Set
from podfence.nft.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

Verb = Literal["add", "delete", "flush"]
Object = Table | Chain | Rule | Set | Map | Elements

_WHOLE: Final[frozenset[Verb]] = frozenset({"add", "delete", "flush"})
_PART: Final[frozenset[Verb]] = frozenset({"add", "delete"})
KINDS: Final[dict[type[Object], tuple[str, frozenset[Verb]]]] = {
    Table: ("table", _WHOLE),
    Chain: ("chain", _WHOLE),
    Rule: ("rule", _PART),
    Set: ("set", _WHOLE),
    Map: ("map", _WHOLE),
    Elements: ("element", _PART),
}
"""What nft calls each kind of objects, and the verbs that it has for it."""

CHUNK: Final = 1000
"""How many elements one command holds at most; a command per element is slow and fills the socket buffer."""


class Operation(NamedTuple):
    """One verb and what it is done to; it becomes one line of the script."""

    verb: Verb
    object: Object

    @property
    def size(self) -> int:
        """How much that is: elements count singly."""
        return len(self.object.items) if isinstance(self.object, Elements) else 1


class Transaction:
    """Operations on one table, in order; every method returns the transaction.

    The first operation that nft could not take is remembered in `error` and raised when the transaction is run,
    so that a caller can chain operations without asking after each. Like a list, it is for one owner.
    """

    def __init__(self, table: Table) -> None:
        """Start an empty transaction on `table`, which need not exist."""
        self.table = table
        self.error: InvalidError | None = None
        self._operations: list[Operation] = []

    def add(self, *objects: Object) -> Self:
        """Make objects that may exist already; rules come last in their chain."""
        return self.extend(Operation("add", item) for item in objects)

    def delete(self, *objects: Object) -> Self:
        """Delete objects that must exist; a rule goes by its handle, elements by their keys."""
        return self.extend(Operation("delete", item) for item in objects)

    def flush(self, *objects: Object) -> Self:
        """Empty chains, sets and maps; in a table, all chains."""
        return self.extend(Operation("flush", item) for item in objects)

    def extend(self, operations: Iterable[Operation]) -> Self:
        """Take operations in, in order."""
        for operation in operations:
            problem = self._problem(*operation)
            if problem and self.error is None:
                self.error = InvalidError(problem)
            if not problem:
                self._operations.append(operation)
        return self

    @property
    def counts(self) -> Counter[str]:
        """Return how many operations of each kind there are, as `{"add element": 2000}`; elements count singly."""
        counts: Counter[str] = Counter()
        for operation in self._operations:
            counts[f"{operation.verb} {KINDS[type(operation.object)][0]}"] += operation.size
        return counts

    def __len__(self) -> int:
        return self.counts.total()

    def commands(self) -> Iterator[Operation]:
        """Yield the lines of the script: neighbouring elements are brought together, at most CHUNK to a line."""
        for filled, operations in groupby(self._operations, key=_filled):
            if filled is None:
                yield from operations
                continue
            verb, container = filled
            parts = [item for _, item in operations if isinstance(item, Elements)]
            if len(parts) > 1 or len(parts[0].items) > CHUNK:
                items = [element for part in parts for element in part.items]
                chunks = (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))
                parts = [Elements(container, tuple(chunk)) for chunk in chunks]
            yield from (Operation(verb, part) for part in parts)

    def __str__(self) -> str:
        """Return the script exactly as nft gets it; a remembered error stands in a comment at its end."""
        lines = [item.statement(verb, self.table) for verb, item in self.commands()]
        if self.error is not None:
            lines.append(f"# refused: {self.error}")
        return "".join(f"{line}\n" for line in lines)

    def _problem(self, verb: Verb, item: Object) -> str:
        what, verbs = KINDS[type(item)]
        if verb not in verbs:
            return f"nft has no {verb!r} for {what}s"
        if isinstance(item, Table) and item.address != self.table.address:
            return f"the transaction is on table {self.table.address}, not on {item.address}"
        if isinstance(item, Rule) and (item.handle is None) == (verb == "delete"):
            need = "needs a rule with" if item.handle is None else "takes a rule without"
            return f"{verb} {need} a handle: {item.text}"
        if isinstance(item, Elements) and isinstance(item.container, Map) and verb != "delete":
            bare = next((element for element in item.items if element.value is None), None)
            return f"an element of map {item.container.name} needs a value: {bare}" if bare else ""
        return ""


def _filled(operation: Operation) -> tuple[Verb, Set | Map] | None:
    """Return what operations that fill or empty one set or map have in common, None for others."""
    item = operation.object
    return (operation.verb, item.container) if isinstance(item, Elements) else None
