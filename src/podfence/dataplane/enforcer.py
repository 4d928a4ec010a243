# SPDX-License-Identifier: Apache-2.0
"""One node's table kept in step with a model: adopted or made, changed by differences, looked after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.dataplane.chains import Builder, Settings
from podfence.dataplane.compiler import SHARED_FROM, Compiler
from podfence.dataplane.difference import cold_start, compatible, difference, replacement
from podfence.dataplane.ruleset import COMMENT, TABLE, Ruleset, read_back
from podfence.errors import PodfenceError
from podfence.nft.errors import NftError, NotFoundError, NotInstalledError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.dataplane.ruleset import SetBody
    from podfence.nft.runner import Runner
    from podfence.policy.model import Change, Model

_HOPELESS = (NotInstalledError, PermissionDeniedError)


class ForeignTableError(PodfenceError):
    """There is a table of our name that somebody else made."""


class Enforcer:
    """Holds the table of one node.

    There is nothing to stop: the table stays when its enforcer goes, and the next one adopts it.
    All methods that touch the kernel raise NftError when it cannot be made to have what it should; the next
    call tries again from what is there.
    """

    def __init__(
        self,
        runner: Runner,
        node: str,
        model: Model,
        settings: Settings | None = None,
        *,
        shared_from: int = SHARED_FROM,
    ) -> None:
        """Compile the node's program; the kernel is not touched. Raises OptionError (see `check_options`).

        A set of pods with at least `shared_from` addresses is a set of its own in the kernel.
        """
        self._runner = runner
        self._builder = Builder(settings or Settings())
        self._programmed: Ruleset | None = None
        self.compiler = Compiler(model, node, shared_from=shared_from)
        self.wanted = self._builder.build(self.compiler.program)

    def start(self) -> None:
        """Adopt the table that an earlier enforcer left, or make it; unknown pods are held from the first step.

        Raises ForeignTableError if there is a table of that name which is not ours.
        """
        try:
            table = self._runner.list_table(TABLE)
        except NotFoundError:
            for transaction in cold_start(self.wanted):
                self._runner.run(transaction)
            self._programmed = self.wanted
            return
        if not (table.comment or "").startswith(COMMENT.partition("=")[0]):
            message = f"table {TABLE.address} has not the comment {COMMENT!r}: it is somebody else's, and left alone"
            raise ForeignTableError(message)
        if table.comment == COMMENT:
            self._programmed = read_back(self._runner.contents(TABLE))
        self._program()

    def apply(self, change: Change) -> int:
        """Bring the table in step after `Model.apply`; return how many objects and elements were touched."""
        self.compiler.follow(change)
        self.wanted = self._builder.build(self.compiler.program)
        return self._program()

    def verify(self) -> tuple[str, ...]:
        """Compare the table with what it should hold, and repair it; return what differed, a sentence each.

        This reads the whole table: for once in a while, not after each change.
        """
        try:
            contents = self._runner.contents(TABLE)
        except NotFoundError:
            self._rebuild()
            return (f"table {TABLE.address} was gone",)
        if contents.table.comment != COMMENT:
            self._rebuild()
            return (f"table {TABLE.address} had the comment {contents.table.comment!r}",)
        self._programmed = read_back(contents)
        found = tuple(_drift(self._programmed, self.wanted))
        self._program()
        return found

    def _program(self) -> int:
        if self._programmed is None or not compatible(self._programmed, self.wanted):
            return self._rebuild()
        transaction = difference(self._programmed, self.wanted)
        if not len(transaction):
            self._programmed = self.wanted
            return 0
        try:
            self._runner.run(transaction)
        except _HOPELESS:
            raise
        except NftError:
            # Somebody changed the table under us: what it holds is not what the difference was made from.
            return self._rebuild()
        self._programmed = self.wanted
        return len(transaction)

    def _rebuild(self) -> int:
        """Make the table anew in one transaction, so that nothing is open in between."""
        self._programmed = None
        transaction = replacement(self.wanted)
        self._runner.run(transaction)
        self._programmed = self.wanted
        return len(transaction)


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
