# SPDX-License-Identifier: Apache-2.0
"""Who may connect to a load balancer (semantics 7.17), address by address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .addresses import parse_address, parse_network
from .question import Answer, agreement

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Service
    from podfence.policy.options import Options


def limited(answer: Answer, service: Service, sources: Iterable[str], options: Options) -> Answer:
    """Return whether connections from these addresses arrive, if policies say the same of all of them."""
    if not service.source_ranges or options.source_ranges == "ignored":
        return answer
    ranges = [parse_network(text) for text in service.source_ranges]
    found = []
    for text in sources:
        address = parse_address(text)
        inside = any(address.version == block.version and address in block for block in ranges)
        found += [answer] if inside else [Answer.NO] if options.source_ranges == "enforced" else [Answer.NO, answer]
    return agreement(found) if found else answer
