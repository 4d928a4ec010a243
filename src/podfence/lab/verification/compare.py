# SPDX-License-Identifier: Apache-2.0
"""`lab verify`: real connections from every kind of end to every other, compared with what the engine says.

Everything is tried with the policies in force, what was not as expected a second time. Then the policies are
lifted, and what did not get there is tried once more: a server that does not answer, or a route that is
broken, must not pass for a policy that works.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Final

from podfence.errors import PodfenceError
from podfence.lab.processes.probing import Probe
from podfence.lab.verification.outside import union
from podfence.lab.verification.plan import explained, schedule
from podfence.lab.verification.result import ARRIVED, DeadTarget, Trial, verification
from podfence.policy.engine import Engine
from podfence.policy.model import Model
from podfence.sets import AddressSet

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from podfence.lab.supervisor import Supervisor
    from podfence.lab.targets import Place
    from podfence.lab.verification.plan import Attempt
    from podfence.lab.verification.result import Verification

    Progress = Callable[[float, int], None]
    Prober = Callable[[Place, Sequence[Probe]], list[str]]

_ROUND: Final = 1000
"""How many probes of one place are under way at once."""

_PLACES_AT_ONCE: Final = 16
"""From how many places probes are under way at once: more only make each other late."""

_SAMPLES: Final = 3
"""How often to look for another witness that a route or a target is alive."""


def verify_lab(lab: Supervisor, *, all_pairs: bool, progress: Progress) -> Verification:
    """Compare packets with what the engine says of a lab's objects as they are; nothing changes meanwhile.

    `all_pairs` and `progress` as in `verify`. Raises NetworkError if there are too many pairs for the kernel to find
    the ends of.
    """
    plan = lab.plan
    reserved = union(
        block
        for family in plan.families
        for block in (plan.pods(family), plan.service_range(family), plan.node_range(family))
    )
    with lab.lock:
        lab.settle()
        if all_pairs:
            lab.network.require_room_for_all_pairs()
        return verify(
            Engine(lab.state, lab.options),
            lambda place, probes: lab.holder(place).probe(probes),
            lab.lifted,
            reserved=reserved,
            all_pairs=all_pairs,
            progress=progress,
        )


def verify(
    engine: Engine,
    probe: Prober,
    lifted: Callable[[], AbstractContextManager[object]],
    *,
    reserved: AddressSet = AddressSet.EMPTY,
    all_pairs: bool = False,
    progress: Progress | None = None,
) -> Verification:
    """Return what was tried in a cluster and how it compares with the engine's answers.

    `probe` sends probes from a place and returns what became of each, as `processes.probing.run` does; it is called
    from several threads at once. The source addresses of probes from `OUTSIDE` are any there are. No probe may use a
    source port (ICMP: an identifier) that an earlier one had to the same destination.

    No policy is in force inside of the context that `lifted` returns; it is entered at most once. `reserved` are
    addresses that cannot be ones of the world outside: the ranges of pods and Services. `all_pairs` tries every
    pod with every pod rather than representatives of what no policy tells apart. `progress` is told how many
    connections are done and how many there are, which may grow. The engine's state must not change meanwhile.
    """
    model = Model(engine)
    attempts, left_out = schedule(model, reserved, all_pairs=all_pairs)
    run = _Run(probe, attempts, progress)
    first = run.probe(range(len(attempts)))
    again = run.probe([index for index, outcome in first.items() if (outcome in ARRIVED) != attempts[index].expected])
    silent = [i for i, outcome in (first | again).items() if outcome not in ARRIVED and attempts[i].answered]
    dead: dict[int, str] = {}
    if silent:
        with lifted():
            dead = _control(run, attempts, first | again, silent, sampled=all_pairs)
    trials = []
    for index, attempt in enumerate(attempts):
        if index not in dead:
            outcomes = (first[index], *([again[index]] if index in again else []))
            differs = (outcomes[-1] in ARRIVED) != attempt.expected
            trials.append(_trial(attempt, outcomes, explained(model, attempt) if differs else ""))
    return verification(tuple(trials), _dead(attempts, dead), left_out)


class _Run:
    """Sends the probes of attempts, in bounded rounds, from many places at once."""

    def __init__(self, probe: Prober, attempts: Sequence[Attempt], progress: Progress | None) -> None:
        self._probe = probe
        self._attempts = attempts
        self._progress = progress
        self._done = 0
        self._total = 0

    def probe(self, indices: Collection[int], *, lifted: bool = False) -> dict[int, str]:
        """Return the outcome of each attempt; `lifted` expects all of them to get there."""
        found: dict[int, str] = {}
        if not indices:
            return found
        self._total += len(indices)
        with ThreadPoolExecutor(_PLACES_AT_ONCE, "verify") as pool:
            jobs = {pool.submit(self._one, part, lifted=lifted): part for part in self._rounds(indices)}
            for job in as_completed(jobs):
                found |= zip(jobs[job], job.result(), strict=True)
                self._done += len(jobs[job])
                if self._progress is not None:
                    self._progress(self._done, self._total)
        return dict(sorted(found.items()))

    def _rounds(self, indices: Iterable[int]) -> Iterator[list[int]]:
        """Yield attempts of one place each; a place's second part comes after the first ones of all."""
        places: dict[Place, list[int]] = defaultdict(list)
        for index in indices:
            places[self._attempts[index].source.place].append(index)
        for start in range(0, max(map(len, places.values())), _ROUND):
            for items in places.values():
                if items[start:]:
                    yield items[start : start + _ROUND]

    def _one(self, part: list[int], *, lifted: bool) -> list[str]:
        probes = [_probe(self._attempts[index], lifted=lifted) for index in part]
        try:
            return self._probe(self._attempts[part[0]].source.place, probes)
        except (PodfenceError, OSError) as error:
            return [f"error: {error}"] * len(part)


def _probe(attempt: Attempt, *, lifted: bool) -> Probe:
    source, destination, port = attempt.source.address, attempt.destination.address, attempt.port
    return Probe(port.probe, source, destination, port.number, expected=attempt.expected or lifted)


def _control(
    run: _Run, attempts: Sequence[Attempt], enforced: dict[int, str], silent: list[int], *, sampled: bool
) -> dict[int, str]:
    """Return the attempts that do not get there without policies either, with the outcome.

    When `sampled`, what is denied as expected is tried only until each target has been reached from each node,
    and something from each source.
    """
    found: dict[int, str] = {}
    proven = {route for index, outcome in enforced.items() if outcome in ARRIVED for route in _routes(attempts[index])}
    odd = {index for index in silent if attempts[index].expected or enforced[index] != "timeout"}
    rest = silent
    for _ in range(_SAMPLES if sampled else 1):
        sample = _witnesses(attempts, rest, odd, proven) if sampled else rest
        outcomes = run.probe(sample, lifted=True)
        outcomes |= run.probe([index for index, outcome in outcomes.items() if outcome not in ARRIVED], lifted=True)
        for index, outcome in outcomes.items():
            if outcome in ARRIVED:
                proven.update(_routes(attempts[index]))
            else:
                found[index] = outcome
        rest = [index for index in rest if index not in outcomes]
    return found | {index: enforced[index] for index in rest if not proven.issuperset(_routes(attempts[index]))}


def _witnesses(
    attempts: Sequence[Attempt], indices: Iterable[int], odd: Collection[int], proven: Collection[Hashable]
) -> list[int]:
    """Return attempts that would prove all routes not proven yet, and those that are odd."""
    found = []
    wanted = set(proven)
    for index in indices:
        routes = _routes(attempts[index])
        if index in odd or not wanted.issuperset(routes):
            wanted.update(routes)
            found.append(index)
    return found


def _routes(attempt: Attempt) -> tuple[Hashable, Hashable]:
    """Return what must work for an attempt: the way out of its source, and that from there to the target.

    A pod's way to itself leads nowhere else, and proves nothing else.
    """
    source, destination = attempt.source, attempt.destination
    start = source.place if source.place == destination.place else source.node
    return (source.place, source.address, start), (start, destination.address, attempt.port)


def _trial(attempt: Attempt, outcomes: tuple[str, ...], reason: str) -> Trial:
    return Trial(
        source=attempt.source.name,
        destination=attempt.destination.name,
        source_group=attempt.source_group,
        destination_group=attempt.destination_group,
        port=attempt.port.text,
        port_kind=attempt.port.kind,
        family=attempt.source.family,
        expected="allowed" if attempt.expected else "denied",
        observed="allowed" if outcomes[-1] in ARRIVED else "denied",
        outcomes=outcomes,
        reason=reason,
    )


def _dead(attempts: Sequence[Attempt], outcomes: dict[int, str]) -> tuple[DeadTarget, ...]:
    """Return the dead targets, each once."""
    targets: dict[Hashable, list[int]] = defaultdict(list)
    for index in outcomes:
        attempt = attempts[index]
        targets[attempt.destination.name, attempt.destination.address, attempt.port].append(index)
    return tuple(
        DeadTarget(
            destination=attempts[indices[0]].destination.name,
            port=attempts[indices[0]].port.text,
            family=attempts[indices[0]].destination.family,
            sources=tuple(sorted({attempts[index].source.name for index in indices})),
            connections=len(indices),
            outcome=outcomes[indices[0]],
        )
        for indices in targets.values()
    )
