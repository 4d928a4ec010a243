# SPDX-License-Identifier: Apache-2.0
"""A smaller case in which there is still a difference, for whoever has to find out why."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from podfence.kube.objects import NetworkPolicy
from tests.dataplane.drawing import Step
from tests.dataplane.trial import EVERY_PROBE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dataplane.drawing import Case
    from tests.dataplane.prober import Probe
    from tests.dataplane.trial import Bench, Outcome

LONGEST: Final = 90.0
WAIT: Final = 0.7


def reduced(bench: Bench, case: Case, outcome: Outcome) -> tuple[Case, Outcome]:
    """Return a case from which nothing can be left out any more, or that was found in 90 seconds."""
    end = time.monotonic() + LONGEST
    probes = _concerned(outcome)
    smaller = True
    while smaller and time.monotonic() < end:
        smaller = False
        for candidate in _smaller(case):
            found = bench.run(candidate, probes, WAIT)
            if found.differences:
                case, outcome, smaller = candidate, found, True
                break
            if time.monotonic() > end:
                break
    return case, outcome


def _concerned(outcome: Outcome) -> list[Probe]:
    return [item.probe for item in outcome.differences if item.probe] or list(EVERY_PROBE)


def _smaller(case: Case) -> Iterator[Case]:
    """Yield cases with something left out, what is largest first."""
    steps, objects = case.steps, case.objects
    for index in reversed(range(len(steps))):
        yield case._replace(steps=steps[:index] + steps[index + 1 :])
    for index, item in enumerate(objects):
        yield case._replace(objects=objects[:index] + objects[index + 1 :])
        if isinstance(item, NetworkPolicy):
            for simpler in _simpler(item):
                yield case._replace(objects=(*objects[:index], simpler, *objects[index + 1 :]))
    for index in range(len(case.clusterwide)):
        yield case._replace(clusterwide=case.clusterwide[:index] + case.clusterwide[index + 1 :])
    for index, step in enumerate(steps):
        for number in range(len(step.events)):
            shorter = Step(step.events[:number] + step.events[number + 1 :], step.how)
            yield case._replace(steps=(*steps[:index], shorter, *steps[index + 1 :]))


def _simpler(policy: NetworkPolicy) -> Iterator[NetworkPolicy]:
    for rules in ("ingress", "egress"):
        found = getattr(policy, rules)
        for index in range(len(found)):
            yield msgspec.structs.replace(policy, **{rules: found[:index] + found[index + 1 :]})
