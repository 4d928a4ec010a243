# SPDX-License-Identifier: Apache-2.0
"""One node's tables kept in step with a model and with links: adopted or made, changed by differences, looked after.

After each change the established flows that it concerns are looked at again (see `revocation`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from podfence.dataplane.bridge import bridged
from podfence.dataplane.chains import Builder
from podfence.dataplane.compiler import AT_ONCE, SHARED_FROM, Compiler
from podfence.dataplane.difference import cold_start, hooks_last
from podfence.dataplane.flows import Sides
from podfence.dataplane.grace import Grace
from podfence.dataplane.groups import MOST_LISTED
from podfence.dataplane.kept import KeptTable
from podfence.dataplane.program import Tunnels
from podfence.dataplane.revocation import Reviewed, Revocation, concerned
from podfence.dataplane.ruleset import BRIDGE_TABLE, TABLE, Ruleset
from podfence.dataplane.settings import Settings
from podfence.dataplane.tightened import before, tightened
from podfence.kube.objects import NetworkPolicy, Pod
from podfence.nft.errors import MissingFeatureError, NftError
from podfence.nft.probe import bridge_features, probe
from podfence.policy.model import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from collections.abc import Set as AbstractSet

    from podfence.dataplane.conntrack import Conntrack
    from podfence.dataplane.links import Links
    from podfence.dataplane.program import NodeProgram, ProgramChange
    from podfence.nft.runner import Runner
    from podfence.policy.model import Model

START_BY: Final = 10.0
"""Seconds that an earlier enforcer's table is in force at most while policies are compiled that take very long."""


class Enforcer:
    """Holds the tables of one node: that of policies, and, where links of bridges are bound, that of frames.

    There is nothing to stop: the tables stay when their enforcer goes, and the next one adopts them.
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
        most_listed: int = MOST_LISTED,
        at_once: int = AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
        effort: Callable[[], float] = time.thread_time,
    ) -> None:
        """Compile the node's program; the kernel is not touched. Raises OptionError (see `check_options`).

        A set of pods with at least `shared_from` addresses is a set of its own in the kernel, and others where a
        group would list more than `most_listed`. At most `at_once` addresses come with one change. `conntrack` is
        that of the node; without it no established flow is looked at again. `reviewed` is what the latest
        look at flows did. `clock` gives seconds and never goes back, `effort` those that the processor has
        worked for the caller's thread.
        """
        self._runner = runner
        self._settings = settings or Settings()
        self._builder = Builder(self._settings)
        self._table = KeptTable(runner, TABLE, cold_start)
        self._frames = KeptTable(runner, BRIDGE_TABLE, hooks_last)
        self._is_started = False
        self._clock, self._start_by = clock, clock() + START_BY
        self._follows: bool | None = None
        self._revocation = Revocation(conntrack, Grace(runner, self._table), clock)
        self.reviewed = Reviewed()
        self.compiler = Compiler(
            model, node, shared_from=shared_from, most_listed=most_listed, at_once=at_once, effort=effort
        )
        self._table.wanted = self._builder.build(self.compiler.program)

    @property
    def wanted(self) -> Ruleset:
        """What the table of policies should hold."""
        return self._table.wanted

    @property
    def wanted_frames(self) -> Ruleset:
        """What the table of frames should hold; it is empty if there should be none."""
        return self._frames.wanted

    @property
    def transactions(self) -> int:
        """How many transactions were carried out."""
        return self._table.transactions + self._frames.transactions

    @property
    def is_gone(self) -> bool:
        """Whether a table was found to be gone, and could not be made again yet."""
        return self._table.is_gone or self._frames.is_gone

    def prepare(self) -> bool:
        """Compile a slice of what is left of the first compilation, and return whether to `start` now.

        Where an earlier enforcer's table is in force, there is time: until all is compiled, or for `START_BY`. The
        compiler must have followed all changes of the model.
        """
        if not self.is_behind or self._clock() >= self._start_by:
            return True
        if self._follows is None:
            # To ask is to have nft list the whole table.
            self._follows = self._table.is_there
        if not self._follows:
            return True
        self._compile_slice()
        return not self.is_behind

    def start(self) -> None:
        """Adopt the tables that an earlier enforcer left, or make them; unknown pods are held from the first step.

        Links that were attached before are bound from then on. If none were, nothing is, whatever the earlier
        enforcer bound. All flows are looked at then.
        Raises ForeignTableError if there is a table of that name which is not ours.
        """
        self._revocation.note_all()
        self._table.adopt()
        self._adopt_frames()
        self._is_started = True
        self.look()

    def _adopt_frames(self) -> None:
        try:
            self._frames.adopt()
        except NftError as error:
            # Where this kernel has no such tables, there is none to take away.
            if self._frames.wanted.chains:
                self._explain(error)
                raise

    def attach(self, links: Links) -> int:
        """Let the packets of links be those of their pods only; return how many objects and elements were touched.

        `links` are all that are known now, in the place of those of the last call. Nothing is done if the setting
        `binding` is "off"; before `start`, the kernel is not touched yet. Flows through tunnels that pods must not
        use are cut by the next `look`.

        Raises what `program` raises, and MissingFeatureError if this kernel has no tables of frames: everything but
        ports of bridges is bound then, and they are not until the next call.
        """
        if self._settings.binding == "off":
            return 0
        program = self.compiler.program
        before = program.tunnels
        program.tunnels = tunnels = _tunnels(links) if self._settings.binding == "enforce" else None
        if before is not None and tunnels is not None and before[:2] == tunnels[:2]:
            # A pod that comes can have opened flows of its own only.
            self._revocation.note(Sides(opened=tunnels.sources - before.sources))
        elif before != tunnels:
            self._revocation.note_all()
        self._table.wanted = self._builder.bind(links, program)
        self._frames.wanted = bridged(links, self._settings)
        return self._program() if self._is_started else 0

    def apply(self, *changes: Change) -> int:
        """Bring the table in step after one or more `Model.apply`; return how many objects and elements were touched.

        Established flows that are forbidden now are cut then, and `review` is to be called about 100 ms later.
        """
        count = self.program(*changes)
        self.look()
        return count

    def program(self, *changes: Change, later: AbstractSet[str] = frozenset()) -> int:
        """Do the first half of `apply`: new connections are judged by the changes from then on.

        Policies of the namespaces `later` are left to `catch_up`.
        """
        self.follow(*changes, later=later)
        return self._program()

    def follow(self, *changes: Change, later: AbstractSet[str] = frozenset()) -> None:
        """Bring what the table should be in step after `Model.apply`; the kernel is not touched."""
        if not changes:
            return
        change = changes[0] if len(changes) == 1 else _merged(changes)
        compiler, pod_range = self.compiler, self.compiler.program.pod_range
        kinds = {type(item.event.object) for item in changes}
        only = kinds.pop() if len(kinds) == 1 else None
        # Pods that come, go or change decide only about flows of their own addresses, those before and those after.
        ends = compiler.claimed(change.pods) if only is Pod else set()
        old = self._before() if only is NetworkPolicy else None
        found = compiler.follow(change, only=only, later=later)
        if found:
            self._table.wanted = self._builder.build(compiler.program, found)
            if compiler.program.pod_range != pod_range:
                self._revocation.note_all()
            elif only is Pod:
                self._revocation.note(Sides.both(ends | compiler.claimed(change.pods)))
            else:
                self._note(found, old)

    @property
    def is_behind(self) -> bool:
        """Whether a part of a large or costly change is not programmed yet; see `catch_up`."""
        return self.compiler.is_behind

    def catch_up(self) -> int:
        """Program a slice of what is left; return how many objects and elements were touched.

        The compiler must have followed all changes of the model.
        """
        self._compile_slice()
        return self._program()

    def _compile_slice(self) -> None:
        old = self._before()
        found = self.compiler.catch_up()
        if found:
            self._table.wanted = self._builder.build(self.compiler.program, found)
            # Addresses that come into sets only admit more.
            if found.groups or found.addresses:
                self._note(found, old)

    def look(self) -> int:
        """Do the second half of `apply`: cut established flows that are forbidden now; return how many.

        What the tables no longer need is taken away after that.
        """
        self.reviewed = self._revocation.look(self.compiler.program)
        try:
            for table in (self._table, self._frames):
                table.tidy()
        finally:
            self._note_remade()
        return self.reviewed.cut

    def _before(self) -> NodeProgram | None:
        """Return what the program is now, to see what is admitted no more; None while flows are cut.

        Policies that only admit more forbid nothing; but what was cut may be allowed again.
        """
        return None if self._revocation.has_cut else before(self.compiler.program)

    def _note(self, found: ProgramChange, old: NodeProgram | None) -> None:
        """Look next at the flows for which changed policies may have decided otherwise."""
        sides = concerned(found, self.compiler.program)
        self._revocation.note(sides if old is None else tightened(sides, old, self.compiler.program))

    def review(self, *, settled: bool = True) -> int:
        """Look a second time at the flows that earlier calls looked at; return how many were cut only now.

        Flows that were on their way when the rules changed are seen then. `settled` says that the last change was
        about 100 ms ago; if it was not, the next review, about 100 ms later, looks at its flows again.
        """
        self.reviewed = self._revocation.review(self.compiler.program, settled=settled)
        return self.reviewed.cut

    @property
    def uncut(self) -> int:
        """How many established flows are forbidden and go on; safe to read from another thread."""
        return self._revocation.uncut

    @property
    def forget_at(self) -> float | None:
        """By the clock, when `forget` has something to do next; None if there is nothing."""
        return self._revocation.forget_at

    def forget(self) -> int:
        """Delete the entries of flows that were cut some time ago; return how many could be cut only now."""
        self.reviewed = self._revocation.forget(self.compiler.program)
        return self.reviewed.cut

    def verify(self) -> tuple[str, ...]:
        """Compare the tables with what they should hold, and repair them; return what differed, a sentence each.

        This reads all of them: for once in a while, not after each change. If anything differed, flows may
        have passed that are forbidden, and all are looked at.
        """
        found = self._table.repair() + tuple(f"of frames: {text}" for text in self._frames.repair())
        self._note_remade()
        if found:
            self._revocation.note_all()
            self.reviewed = self._revocation.look(self.compiler.program)
        return found

    def _program(self) -> int:
        try:
            count = self._table.program()
        finally:
            self._note_remade()
        try:
            return count + self._frames.program()
        except NftError as error:
            self._explain(error)
            raise
        finally:
            self._note_remade()

    def _note_remade(self) -> None:
        for table in (self._table, self._frames):
            if table.remade:
                self._revocation.note_all()
                table.remade = False

    def _explain(self, error: NftError) -> None:
        """Raise MissingFeatureError if this kernel has no tables of frames, and stop wanting one."""
        try:
            probe(self._runner, bridge_features()).require()
        except MissingFeatureError as missing:
            self._frames.wanted = Ruleset()
            message = f"ports of bridges are not bound: {missing.text}"
            raise MissingFeatureError(message) from error


def _tunnels(links: Links) -> Tunnels | None:
    if not (links.tunnel_ports or links.tunnel_protocols):
        return None
    sources = frozenset(number for link in links.bound for number in link.addresses)
    return Tunnels(links.tunnel_ports, links.tunnel_protocols, sources)


def _merged(changes: Sequence[Change]) -> Change:
    """Return several changes as one; numbers of classes that are gone by now do no harm."""
    return Change(
        changes[-1].event,
        frozenset().union(*(item.pods for item in changes)),
        frozenset().union(*(item.policies for item in changes)),
        frozenset().union(*(item.ingress for item in changes)),
        frozenset().union(*(item.egress for item in changes)),
    )
