# SPDX-License-Identifier: Apache-2.0
"""The lab is measured as it is used, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench import lab
from tests.lab.kubectl import KUBECTL
from tests.lab.labs import needs_lab

if TYPE_CHECKING:
    import pytest

TYPED = (
    "lab up, until kubectl get pods has answered",
    "kubectl run, until the pod runs",
    "kubectl apply of 20 pods, until all run",
)


@needs_lab
def test_the_lab_is_started_filled_verified_typed_into_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(str(KUBECTL)).parent}:{os.environ['PATH']}")
    section = lab.section(tmp_path, quick=True)

    assert section.missed == 0
    assert [line.split("|")[1].split(":")[0].strip() for line in section.lines[2:]] == [
        "start an empty one of three nodes",
        "fill it with 20 pods",
        "change a policy, until the kernels of all nodes have it",
        "verify all pairs",
        "end it",
        *(TYPED if KUBECTL else ()),
    ]
