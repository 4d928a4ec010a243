# SPDX-License-Identifier: Apache-2.0
"""A list of operations that the kernel carries out together or not at all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from podfence.nft.chain import Chain
from podfence.nft.errors import InvalidError
from podfence.nft.rule import Rule
from podfence.nft.sets import Elements, Map, Set
from podfence.nft.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

Verb = Literal["add", "delete", "flush"]
Object = Table | Chain | Rule | Set | Map | Elements

VERBS: Final[dict[type[Object], frozenset[Verb]]] = {
    Table: frozenset({"add", "delete", "flush"}),
    Chain: frozenset({"add", "delete", "flush"}),
    Rule: frozenset({"add", "delete"}),
    Set: frozenset({"add", "delete", "flush"}),
    Map: frozenset({"add", "delete", "flush"}),
    Elements: frozenset({"add", "delete"}),
}
KINDS: Final[dict[type[Object], str]] = {
    Table: "table",
    Chain: "chain",
    Rule: "rule",
    Set: "set",
    Map: "map",
    Elements: "element",
}
CHUNK: Final = 1000
"""How many elements one command holds at most; a command per element is slow and fills the socket buffer."""


class Operation(NamedTuple):
    """One verb and what it is done to; it becomes one line of the script."""

    verb: Verb
    object: Object


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
        return self._append("add", objects)

    def delete(self, *objects: Object) -> Self:
        """Delete objects that must exist; a rule goes by its handle, elements by their keys."""
        return self._append("delete", objects)

    def flush(self, *objects: Object) -> Self:
        """Empty chains, sets and maps; in a table, all chains."""
        return self._append("flush", objects)

    @property
    def counts(self) -> Counter[str]:
        """Return how many operations of each kind there are, as `{"add element": 2000}`; elements count singly."""
        counts: Counter[str] = Counter()
        for verb, item in self._operations:
            counts[f"{verb} {KINDS[type(item)]}"] += len(item.items) if isinstance(item, Elements) else 1
        return counts

    def __len__(self) -> int:
        return self.counts.total()

    def commands(self) -> Iterator[Operation]:
        """Yield the lines of the script: neighbouring elements are brought together, at most CHUNK to a line."""
        pending: list[Operation] = []
        for operation in self._operations:
            if pending and not _same(pending[0], operation):
                yield from _merged(pending)
                pending = []
            if isinstance(operation.object, Elements):
                pending.append(operation)
            else:
                yield operation
        if pending:
            yield from _merged(pending)

    def __str__(self) -> str:
        """Return the script exactly as nft gets it; a remembered error stands in a comment at its end."""
        lines = [item.statement(verb, self.table) for verb, item in self.commands()]
        if self.error is not None:
            lines.append(f"# refused: {self.error}")
        return "".join(f"{line}\n" for line in lines)

    def _append(self, verb: Verb, objects: tuple[Object, ...]) -> Self:
        for item in objects:
            problem = self._problem(verb, item)
            if problem and self.error is None:
                self.error = InvalidError(problem)
            if not problem:
                self._operations.append(Operation(verb, item))
        return self

    def _problem(self, verb: Verb, item: Object) -> str:
        what = KINDS[type(item)]
        if verb not in VERBS[type(item)]:
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


def _same(one: Operation, other: Operation) -> bool:
    return (
        one.verb == other.verb
        and isinstance(one.object, Elements)
        and isinstance(other.object, Elements)
        and one.object.container == other.object.container
    )


def _merged(operations: list[Operation]) -> Iterator[Operation]:
    if len(operations) == 1 and isinstance(operations[0].object, Elements) and len(operations[0].object.items) <= CHUNK:
        yield operations[0]
        return
    verb = operations[0].verb
    groups = [operation.object for operation in operations if isinstance(operation.object, Elements)]
    items = [element for group in groups for element in group.items]
    for start in range(0, len(items), CHUNK):
        yield Operation(verb, Elements(groups[0].container, tuple(items[start : start + CHUNK])))
