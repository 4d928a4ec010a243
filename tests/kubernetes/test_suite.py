# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' own NetworkPolicy tests, on every kind of pod network and Service proxy that the bed has.

Of the 50 tests of Kubernetes 1.36, the three named SCTPConnectivity are left out: they need SCTP in the kernel.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.kubernetes.harness import Bed, Cni, Families, Proxy

ALL = 47
# Without an enforcer five pass, because nothing in them has to be refused: two are about the API alone.
PASS_WITHOUT_PODFENCE = 5
FULL = os.environ.get("PODFENCE_KUBERNETES_FULL") == "1"
TIMES = int(os.environ.get("PODFENCE_KUBERNETES_TIMES", "1"))


@pytest.mark.parametrize(
    ("cni", "proxy", "families"),
    [
        ("bridge", "nftables", "single"),
        ("bridge", "iptables", "single"),
        ("ptp", "nftables", "single"),
        ("ptp", "iptables", "single"),
        ("bridge", "nftables", "dual"),
    ],
)
def test_every_test_of_kubernetes_passes(bed: Bed, cni: Cni, proxy: Proxy, families: Families) -> None:
    bed.restart(cni=cni, proxy=proxy, families=families)
    bed.install_podfence()
    try:
        for _ in range(TIMES):
            outcome = bed.suite()
            assert outcome.failed == ()
            assert len(outcome.passed) == ALL
    finally:
        bed.remove_podfence()


def test_tests_of_kubernetes_fail_without_podfence(bed: Bed) -> None:
    bed.remove_podfence()
    bed.restart()
    outcome = bed.suite("Netpol" if FULL else "default-deny")
    if FULL:
        assert len(outcome.passed) == PASS_WITHOUT_PODFENCE
        assert len(outcome.failed) == ALL - PASS_WITHOUT_PODFENCE
    else:
        assert outcome.passed == ()
        assert outcome.failed
