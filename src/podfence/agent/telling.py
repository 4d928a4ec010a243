# SPDX-License-Identifier: Apache-2.0
"""How the loop says what happens: the state of the node with each report, and no complaint twice within a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from podfence.agent.reports import Refusal, Report
from podfence.dataplane.kept import ForeignTableError
from podfence.nft.errors import NftError, NotInstalledError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from podfence.agent.reports import Record
    from podfence.kube.objects import Key
    from podfence.policy.engine import Engine

AGAIN: Final = 60.0
"""Seconds after which the same is said again."""

SOME: Final = 5
"""How many policies of one namespace are said to be too large in that time."""

HOPELESS: Final = (ForeignTableError, NotInstalledError, PermissionDeniedError)
"""Errors of a kernel that refuses a program, and do not go away by themselves within seconds."""

REFUSALS: Final = (NftError, ForeignTableError, OSError)
"""All errors by which a kernel refuses a program."""

_UNSAID: Final = ", or the same ones change: they are not named for a minute"
_HELD: Final = "packets of pods that are not programmed yet are dropped, and the kernel continues to enforce its rules"
_GONE: Final = "the table is gone, and nothing on the node is denied until a try succeeds"
_AS_FOUND: Final = "until a try succeeds, the node has the rules that it had before this agent, if any"


class Telling:
    """Knows what is true of a node, and tells somebody of it.

    `enforcing` says that the kernel has all that was delivered, and `revision` up to where that is.
    """

    def __init__(self, node: str, tell: Callable[[Report], None], clock: Callable[[], float]) -> None:
        """Have said nothing. `clock` gives seconds and never goes back."""
        self.enforcing = False
        self.revision: int | None = None
        self._node = node
        self._tell = tell
        self._clock = clock
        self._said: dict[str, float] = {}
        self._refused: dict[str, frozenset[Refusal]] = {}
        self._large: dict[str, tuple[float, int]] = {}

    def status(self) -> Report:
        """Return how things are, without anything that just happened; safe to call from another thread."""
        return Report(node=self._node, enforcing=self.enforcing, revision=self.revision)

    def report(
        self,
        *,
        records: tuple[Record, ...] = (),
        errors: tuple[str, ...] = (),
        drift: tuple[str, ...] | None = None,
        cut: int = 0,
    ) -> None:
        """Say what just happened; see `Report`."""
        self._tell(replace(self.status(), records=records, errors=errors, drift=drift, cut=cut))

    def too_large(self, engine: Engine, namespaces: Iterable[str], local: Collection[Key]) -> None:
        """Say which policies of some namespaces are too large and were not, or for another reason, by name.

        Only namespaces count that have one of the `local` pods; other nodes speak about the others. No more than `SOME`
        of a namespace are named in a minute.
        """
        found: list[Refusal] = []
        for name in sorted(namespaces):
            known = self._refused.pop(name, frozenset())
            refused = [policy for policy in engine.policies(name) if policy.refused]
            if refused and any(key.namespace == name for key in local):
                present = [Refusal(policy.key.namespace, policy.key.name, policy.refused) for policy in refused]
                found += (item for item in present if item not in known)
                self._refused[name] = frozenset(present)
        if not found:
            return
        now = self._clock()
        self._large = {name: said for name, said in self._large.items() if now - said[0] < AGAIN}
        errors: list[str] = []
        for item in found:
            since, count = self._large.get(item.namespace, (now, 0))
            self._large[item.namespace] = since, count + 1
            if count < SOME:
                errors.append(str(item))
            elif count == SOME:
                errors.append(f"namespace {item.namespace} has more policies that are too large{_UNSAID}")
        self._tell(replace(self.status(), errors=tuple(errors), refused=tuple(found)))

    def complain(self, what: str, text: str = "") -> bool:
        """Report an error, by a longer text if there is one, unless `what` was said within the last minute.

        Return whether that was done.
        """
        now = self._clock()
        self._said = {key: said for key, said in self._said.items() if now - said < AGAIN}
        if what in self._said:
            return False
        self._said[what] = now
        self.report(errors=(text or what,))
        return True

    def refused(self, error: Exception, delay: float, *, gone: bool, adopted: bool) -> None:
        """Say why the kernel could not be programmed, what it enforces meanwhile, and when it is tried again.

        The table may be `gone`, or not `adopted` yet.
        """
        what = f"the kernel of node {self._node} could not be programmed: {error}"
        was_enforcing, self.enforcing = self.enforcing, False
        then = _GONE if gone else _HELD if adopted else _AS_FOUND
        if not self.complain(what, f"{what}; {then}; the next try is in {delay:.1f} s") and was_enforcing:
            self.report()

    def unread(self, error: Exception) -> None:
        """Say that the kernel did not let established flows be looked at."""
        what = f"established flows of node {self._node} could not be read: {error}"
        self.complain(what, f"{what}; flows that policies now deny continue until this succeeds")

    def uncut(self, count: int) -> None:
        """Say that some flows cannot be cut yet."""
        what = f"policies now deny established flows of node {self._node}, and they cannot be cut yet"
        why = "the kernel keeps their connection tracking entries, and has no room there for labels"
        self.complain(what, f"{what}: {count} continue; {why}; the agent tries again every 10 s")
