# SPDX-License-Identifier: Apache-2.0
"""What an agent says of its node."""

from __future__ import annotations

import msgspec

from podfence.cluster.state import EventType
from podfence.kube.objects import Key


class Record(msgspec.Struct, frozen=True, gc=False):
    """A change of an object that became real: `seconds` from its receipt until the kernel had it.

    Of several changes that one transaction carried out the last is named, and the time counts from the first.
    """

    kind: str
    namespace: str
    name: str
    type: EventType
    seconds: float


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A policy that admits nothing because it is too large; `why` goes on after its name."""

    namespace: str
    name: str
    why: str

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{Key('NetworkPolicy', self.namespace, self.name)} {self.why}"


class Report(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One thing that happened, or several at the same time.

    `enforcing` says that the kernel has all that was delivered, and `revision` up to where that is (None before
    the first bookmark). `records` are the changes of local pods, and of policies in namespaces with local pods,
    that just became real. `errors` are complete sentences. `drift` is what was found to differ in the kernel and
    repaired, None if nobody looked. `cut` counts established flows that were found forbidden and cut. `refused` are
    policies that were found to be too large just now, in namespaces with local pods.
    """

    node: str
    enforcing: bool
    revision: int | None = None
    records: tuple[Record, ...] = ()
    errors: tuple[str, ...] = ()
    drift: tuple[str, ...] | None = None
    cut: int = 0
    refused: tuple[Refusal, ...] = ()
