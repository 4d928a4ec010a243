# SPDX-License-Identifier: Apache-2.0
"""One table of the kernel, kept as it is wanted: adopted or made, changed by differences, repaired, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from podfence.dataplane.difference import compatible, replacement, steps
from podfence.dataplane.ruleset import COMMENT, Ruleset, is_ours, read_back
from podfence.errors import PodfenceError
from podfence.nft.errors import NftError, NoBufferSpaceError, NotFoundError, NotInstalledError, PermissionDeniedError
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podfence.dataplane.difference import Reached
    from podfence.dataplane.ruleset import SetBody
    from podfence.nft.runner import Runner
    from podfence.nft.table import Table

_HOPELESS = (NotInstalledError, PermissionDeniedError)


class ForeignTableError(PodfenceError):
    """There is a table of our name that somebody else made."""


class Pieces(Protocol):
    """What makes a table in several transactions."""

    def __call__(self, new: Ruleset, *, anew: bool = False) -> Iterable[Transaction]:
        """Return the transactions; `anew` says that there may be such a table already."""


class KeptTable:
    """Holds one table.

    `wanted` is what it should hold; without chains, there should be no table. `transactions` counts what was carried
    out, `is_gone` says that the table was found to be gone and could not be made again yet, and `remade` that it was
    made anew, so that packets may have passed that are forbidden; whoever has seen to that sets it back.
    """

    def __init__(self, runner: Runner, table: Table, pieces: Pieces) -> None:
        """Want nothing yet; the kernel is not asked."""
        self._runner = runner
        self.table = table
        self._pieces = pieces
        self._programmed: Ruleset | None = None
        self._left: tuple[Iterator[tuple[Transaction, Reached]], Ruleset] | None = None
        self._is_adopted = False
        self._has_been = False
        self.wanted = Ruleset()
        self.transactions = 0
        self.is_gone = False
        self.remade = False

    @property
    def is_there(self) -> bool:
        """Whether the kernel has a table of that name; it is asked. Raises NftError."""
        try:
            self._runner.list_table(self.table)
        except NotFoundError:
            return False
        return True

    def adopt(self) -> None:
        """Take over the table that is there, if it is ours, and bring it in step; make it if there is none.

        Raises ForeignTableError if one is wanted and somebody else made it.
        """
        try:
            table = self._runner.list_table(self.table)
        except NotFoundError:
            for transaction in self._pieces(self.wanted) if self.wanted.chains else ():
                self.run(transaction)
            self._programmed = self.wanted if self.wanted.chains else None
            self._is_adopted = True
            self._has_been = bool(self.wanted.chains)
            return
        if self.wanted.chains:
            _require_ours(self.table, table)
        elif not is_ours(table.comment):
            return
        self._has_been = True
        if table.comment == COMMENT:
            self._programmed = read_back(self._runner.contents(self.table))
        self._is_adopted = True
        if self._programmed is None and not self.wanted.chains:
            self._programmed = Ruleset()
        self.program()

    def program(self) -> int:
        """Let packets be judged by what is wanted; return how many objects and elements were touched.

        What is no longer needed may stay until `tidy`: whoever waits for the rules does not wait for that.
        """
        self.tidy()
        if not self._is_adopted and self.wanted.chains:
            self.adopt()
            return len(replacement(self.wanted, self.table))
        if self._programmed is self.wanted:
            return 0
        if not self.wanted.chains:
            return self._delete()
        if self._programmed is None or not compatible(self._programmed, self.wanted):
            return self._rebuild()
        self._left = steps(self._programmed, self.wanted, self.table), self.wanted
        return self._go_on(whole=False)

    def tidy(self) -> int:
        """Take away what is no longer needed; return how many objects and elements were touched."""
        return self._go_on(whole=True)

    def _go_on(self, *, whole: bool) -> int:
        """Carry out the steps that are left, all of them or up to the one that decides about packets."""
        if self._left is None:
            return 0
        (rest, aim), self._left = self._left, None
        count = 0
        try:
            for transaction, reached in rest:
                self.run(transaction)
                self._programmed = reached.ruleset
                count += len(transaction)
                if reached.is_decisive and not whole:
                    self._left = rest, aim
                    return count
        except _HOPELESS:
            raise
        except NftError:
            # Somebody changed the table under us: what it holds is not what the difference was made from.
            return self._rebuild()
        self._programmed = aim
        return count

    def repair(self) -> tuple[str, ...]:
        """Compare the table with what it should hold, and repair it; return what differed, a sentence each."""
        self.tidy()
        if not self.wanted.chains:
            self.program()
            return ()
        try:
            contents = self._runner.contents(self.table)
        except NotFoundError:
            self.is_gone = True
            self._rebuild()
            return (f"table {self.table.address} was gone",)
        _require_ours(self.table, contents.table)
        self._is_adopted = True
        if contents.table.comment != COMMENT:
            self._rebuild()
            return (f"table {self.table.address} had the comment {contents.table.comment!r}",)
        self._programmed = read_back(contents)
        found = tuple(_drift(self._programmed, self.wanted))
        self.program()
        self.tidy()
        return found

    def run(self, transaction: Transaction) -> None:
        """Carry out what leads to what is wanted, or what goes by itself and is not wanted for long."""
        self._runner.run(transaction)
        self.transactions += 1
        self.is_gone = False

    def _delete(self) -> int:
        if self._programmed is None:
            return 0
        self.run(Transaction(self.table).add(self.table).delete(self.table))
        self._programmed = None
        return 1

    def _rebuild(self) -> int:
        """Make the table anew in one transaction, so that nothing is open in between.

        In a user namespace the kernel takes no more than twice `net.core.wmem_max` at once, some thousand elements.
        Then it is made in several.
        """
        self._programmed = self._left = None
        self.remade, self._has_been = self.remade or self._has_been, True
        transaction = replacement(self.wanted, self.table)
        try:
            self.run(transaction)
        except NoBufferSpaceError:
            for part in self._pieces(self.wanted, anew=True):
                self.run(part)
        self._programmed = self.wanted
        return len(transaction)


def _require_ours(wanted: Table, table: Table) -> None:
    if not is_ours(table.comment):
        message = f"table {wanted.address} has not the comment {COMMENT!r}: it is somebody else's, and left alone"
        raise ForeignTableError(message)


def _drift(actual: Ruleset, wanted: Ruleset) -> Iterator[str]:
    for name in sorted(actual.chains.keys() | wanted.chains.keys()):
        one, other = actual.chains.get(name), wanted.chains.get(name)
        if one is None:
            yield f"chain {name} was gone"
        elif other is None:
            yield f"chain {name} is not ours"
        elif not one.same_as(other):
            yield f"chain {name} had other rules"
    for name in sorted(actual.sets.keys() | wanted.sets.keys()):
        yield from _set_drift(name, actual.sets.get(name), wanted.sets.get(name))


def _set_drift(name: str, one: SetBody | None, other: SetBody | None) -> Iterator[str]:
    if one is None:
        yield f"set or map {name} was gone"
    elif other is None:
        yield f"set or map {name} is not ours"
    elif one.elements != other.elements:
        count = sum(one.elements.get(key, one) != value for key, value in other.elements.items())
        extra = len(one.elements.keys() - other.elements.keys())
        yield f"set or map {name}: {count} elements were gone or changed, {extra} are not ours"
