# SPDX-License-Identifier: Apache-2.0
"""One node's table kept in step with a model: adopted or made, changed by differences, looked after.

After each change the established flows that it concerns are looked at again (see `revocation`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import SHARED_FROM, Compiler
from podfence.dataplane.difference import cold_start, compatible, replacement, steps
from podfence.dataplane.revocation import Reviewed, Revocation, concerned
from podfence.dataplane.ruleset import COMMENT, TABLE, Ruleset, read_back
from podfence.dataplane.settings import Settings
from podfence.errors import PodfenceError
from podfence.kube.objects import Pod
from podfence.nft.errors import NftError, NoBufferSpaceError, NotFoundError, NotInstalledError, PermissionDeniedError
from podfence.policy.model import Change

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from podfence.dataplane.conntrack import Conntrack
    from podfence.dataplane.ruleset import SetBody
    from podfence.nft.runner import Runner
    from podfence.nft.table import Table
    from podfence.nft.transaction import Transaction
    from podfence.policy.model import Model

_HOPELESS = (NotInstalledError, PermissionDeniedError)


class ForeignTableError(PodfenceError):
    """There is a table of our name that somebody else made."""


class Enforcer:
    """Holds the table of one node.

    There is nothing to stop: the table stays when its enforcer goes, and the next one adopts it.
    All methods that touch the kernel raise NftError when it cannot be made to have what it should; the next
    call tries again from what is there. Those that look at flows raise NetlinkError when the kernel does not
    let them; the rules are programmed then, and `review` tries again.
    """

    def __init__(
        self,
        runner: Runner,
        node: str,
        model: Model,
        settings: Settings | None = None,
        conntrack: Conntrack | None = None,
        *,
        shared_from: int = SHARED_FROM,
    ) -> None:
        """Compile the node's program; the kernel is not touched. Raises OptionError (see `check_options`).

        A set of pods with at least `shared_from` addresses is a set of its own in the kernel. `conntrack` is
        that of the node; without it no established flow is looked at again. `reviewed` is what the latest
        look at flows did, and `transactions` counts what was carried out. `is_gone` says that the table was
        found to be gone, and could not be made again yet.
        """
        self._runner = runner
        self._builder = Builder(settings or Settings())
        self._programmed: Ruleset | None = None
        self._revocation = Revocation(conntrack)
        self.reviewed = Reviewed()
        self.transactions = 0
        self.is_gone = False
        self.compiler = Compiler(model, node, shared_from=shared_from)
        self.wanted = self._builder.build(self.compiler.program)

    def start(self) -> None:
        """Adopt the table that an earlier enforcer left, or make it; unknown pods are held from the first step.

        All flows are looked at then.
        Raises ForeignTableError if there is a table of that name which is not ours.
        """
        self._revocation.note_all()
        self._adopt()
        self.reviewed = self._revocation.look(self.compiler.program)

    def _adopt(self) -> None:
        try:
            table = self._runner.list_table(TABLE)
        except NotFoundError:
            for transaction in cold_start(self.wanted):
                self._run(transaction)
            self._programmed = self.wanted
            return
        _require_ours(table)
        if table.comment == COMMENT:
            self._programmed = read_back(self._runner.contents(TABLE))
        self._program()

    def apply(self, *changes: Change) -> int:
        """Bring the table in step after one or more `Model.apply`; return how many objects and elements were touched.

        Established flows that are forbidden now are cut then, and `review` is to be called about 100 ms later.
        """
        count = self.program(*changes)
        self.look()
        return count

    def program(self, *changes: Change) -> int:
        """Do the first half of `apply`: new connections are judged by the changes from then on."""
        self.follow(*changes)
        return self._program()

    def follow(self, *changes: Change) -> None:
        """Bring what the table should be in step after `Model.apply`; the kernel is not touched."""
        if changes:
            self._compile(changes)

    def look(self) -> int:
        """Do the second half of `apply`: cut established flows that are forbidden now; return how many."""
        self.reviewed = self._revocation.look(self.compiler.program)
        return self.reviewed.cut

    def _compile(self, changes: Sequence[Change]) -> None:
        change = changes[0] if len(changes) == 1 else _merged(changes)
        compiler, pod_range = self.compiler, self.compiler.program.pod_range
        # Pods that come, go or change decide only about flows of their own addresses, those before and those after.
        pods_only = all(isinstance(item.event.object, Pod) for item in changes)
        ends = compiler.claimed(change.pods) if pods_only else set()
        found = compiler.follow(change)
        if found:
            self.wanted = self._builder.build(compiler.program, found)
            if compiler.program.pod_range != pod_range:
                self._revocation.note_all()
            else:
                self._revocation.note(
                    ends | compiler.claimed(change.pods) if pods_only else concerned(found, compiler.program)
                )

    def review(self, *, settled: bool = True) -> int:
        """Look a second time at the flows that earlier calls looked at; return how many were cut only now.

        Flows that were on their way when the rules changed are seen then. `settled` says that the last change was
        about 100 ms ago; if it was not, the next review, about 100 ms later, looks at its flows again.
        """
        self.reviewed = self._revocation.review(self.compiler.program, settled=settled)
        return self.reviewed.cut

    def verify(self) -> tuple[str, ...]:
        """Compare the table with what it should hold, and repair it; return what differed, a sentence each.

        This reads the whole table: for once in a while, not after each change. If anything differed, flows may
        have passed that are forbidden, and all are looked at.
        """
        found = self._repair()
        if found:
            self._revocation.note_all()
            self.reviewed = self._revocation.look(self.compiler.program)
        return found

    def _repair(self) -> tuple[str, ...]:
        try:
            contents = self._runner.contents(TABLE)
        except NotFoundError:
            self.is_gone = True
            self._rebuild()
            return (f"table {TABLE.address} was gone",)
        _require_ours(contents.table)
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
        count = 0
        try:
            for transaction, reached in steps(self._programmed, self.wanted):
                self._run(transaction)
                self._programmed = reached
                count += len(transaction)
        except _HOPELESS:
            raise
        except NftError:
            # Somebody changed the table under us: what it holds is not what the difference was made from.
            return self._rebuild()
        self._programmed = self.wanted
        return count

    def _run(self, transaction: Transaction) -> None:
        self._runner.run(transaction)
        self.transactions += 1
        self.is_gone = False

    def _rebuild(self) -> int:
        """Make the table anew in one transaction, so that nothing is open in between.

        In a user namespace the kernel takes no more than twice `net.core.wmem_max` at once, some thousand elements.
        Then it is made in several, and pods are held meanwhile.
        """
        self._programmed = None
        self._revocation.note_all()
        transaction = replacement(self.wanted)
        try:
            self._run(transaction)
        except NoBufferSpaceError:
            for part in cold_start(self.wanted, anew=True):
                self._run(part)
        self._programmed = self.wanted
        return len(transaction)


def _require_ours(table: Table) -> None:
    if not (table.comment or "").startswith(COMMENT.partition("=")[0]):
        message = f"table {TABLE.address} has not the comment {COMMENT!r}: it is somebody else's, and left alone"
        raise ForeignTableError(message)


def _merged(changes: Sequence[Change]) -> Change:
    """Return several changes as one; numbers of classes that are gone by now do no harm."""
    return Change(
        changes[-1].event,
        frozenset().union(*(item.pods for item in changes)),
        frozenset().union(*(item.policies for item in changes)),
        frozenset().union(*(item.ingress for item in changes)),
        frozenset().union(*(item.egress for item in changes)),
    )


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
