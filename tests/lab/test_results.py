# SPDX-License-Identifier: Apache-2.0
"""What the lab made for pods is there for agents as libcni keeps it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from podfence.agent.node.results import decode
from podfence.lab.addresses import Plan
from podfence.lab.network import results
from podfence.lab.network.attachment import Attachment
from podfence.lab.network.bridged import Bridged

if TYPE_CHECKING:
    from pathlib import Path

PLAN = Plan((4,), "bridge")
WEB = Attachment(1, 1, ("10.244.1.3",), "shop/web")


def test_a_result_that_is_written_again_is_whole_for_whoever_reads_it_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "cni"
    folder.mkdir()
    results.write(folder, PLAN, Bridged(PLAN), WEB)
    (place,) = folder.iterdir()
    with place.open("rb") as before:
        results.write(folder, PLAN, Bridged(PLAN), WEB)
        found = decode(before.read(), place.name)
        assert not os.fstat(before.fileno()).st_nlink, "it was not emptied, but replaced"

    assert found is not None
    assert (found.pod, found.mac) == ("shop/web", WEB.mac)
    assert [*folder.iterdir()] == [place]


def test_a_result_that_is_removed_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "cni"
    folder.mkdir()
    results.write(folder, PLAN, Bridged(PLAN), WEB)
    results.remove(folder, PLAN, WEB)
    results.remove(folder, PLAN, WEB)

    assert [*tmp_path.rglob("*")] == [folder]
