# SPDX-License-Identifier: Apache-2.0
"""An agent that finds the table of an earlier release takes it over under traffic, and nothing that is allowed is lost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podfence.dataplane.revocation import Reviewed
from podfence.dataplane.ruleset import TABLE
from podfence.dataplane.tracked import GRACE
from podfence.nft.process import NftRunner
from tests.dataplane.scene import (
    ADDED,
    CLOSED_IN,
    FAMILY,
    FROM_WEB,
    MODIFIED,
    NEEDED,
    OPEN,
    PORT,
    STREAM,
    Addresses,
    Scene,
)

if TYPE_CHECKING:
    from podfence.dataplane.conntrack import KernelConntrack
    from tests.dataplane.lines import Lines
    from tests.dataplane.network import Network

pytestmark = NEEDED
RELEASES = sorted(Path(__file__).parent.glob("release-*.nft"))


@FAMILY
@pytest.mark.parametrize("release", RELEASES, ids=[path.stem for path in RELEASES])
def test_the_table_of_an_earlier_release_becomes_this_ones_under_traffic(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses, release: Path
) -> None:
    network.nft(release.read_text())
    streams = [lines.stream(at.web, at.db, STREAM), lines.stream(at.db, at.web, PORT)]
    kept = [lines.connect(kind, at.web, at.db, OPEN) for kind in ("tcp", "udp")]
    others = [lines.connect("tcp", at.web, at.outside, PORT), lines.connect("tcp", at.web, at.node, PORT)]
    line, idle = lines.connect("tcp", at.web, at.db, PORT), lines.connect("udp", at.web, at.db, PORT)

    scene = Scene(network, conntrack, FROM_WEB, grace=True)
    assert scene.enforcer.reviewed == Reviewed()
    assert not NftRunner(prefix=network.prefix).list_elements(TABLE, GRACE)
    assert scene.enforcer.verify() == ()
    for item in (*kept, *others, line, idle, lines.connect("tcp", at.web, at.db, OPEN)):
        item.works()

    # What began under the old table can be cut by the new one.
    assert scene.apply((MODIFIED, CLOSED_IN)) == Reviewed(cut=2)
    line.refuses("server", kept[0])
    idle.refuses("client", kept[1])
    for stream in streams:
        stream.end()
        assert stream.received == stream.sent > 0


@FAMILY
def test_what_an_earlier_release_had_cut_stays_cut(
    network: Network, conntrack: KernelConntrack, lines: Lines, at: Addresses
) -> None:
    scene = Scene(network, conntrack)
    line, fence = lines.connect("tcp", at.web, at.db, PORT), lines.connect("tcp", at.web, at.db, OPEN)
    scene.apply((ADDED, CLOSED_IN))
    network.forget()
    network.nft(RELEASES[0].read_text())
    later = Scene(network, conntrack, CLOSED_IN, grace=True)
    assert later.enforcer.reviewed == Reviewed()
    line.refuses("server", fence)
