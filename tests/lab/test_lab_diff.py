# SPDX-License-Identifier: Apache-2.0
"""A lab can be compared, with itself after an apply or with manifests."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from tests.cli import manifests
from tests.lab.labs import PROGRAM, needs_lab, running

if TYPE_CHECKING:
    from pathlib import Path

OPEN = manifests.POLICY.replace("    ports:\n    - port: 5432\n", "")


@needs_lab
def test_a_lab_is_compared_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(OPEN)
    with running("-f", "-", "--nodes", "1", stdin=f"{manifests.SHOP}---\n{manifests.POLICY}") as lab:

        def diff(*arguments: str) -> tuple[int, str]:
            done = subprocess.run(
                [PROGRAM, "diff", *arguments],
                capture_output=True,
                text=True,
                check=False,
                env=os.environ | {"PODFENCE_LAB": lab.name},
            )
            return done.returncode, done.stdout.partition("\n")[0] or done.stderr

        assert diff("lab", str(file)) == (1, "opens 1 connection")
        assert diff("lab", "lab") == (0, "no difference")
        assert diff("lab", str(file), f"--lab={lab.name}") == (1, "opens 1 connection")
        code, said = diff("lab", str(file), "--lab=nowhere")
        assert (code, "no lab named nowhere is running" in said) == (2, True)
        code, said = diff(str(file), str(file), "--lab")
        assert (code, "--lab chooses a lab" in said, "write lab for OLD or NEW" in said) == (2, True, True)
        lab("apply", "-f", str(file))
        code, said = diff("lab", str(file))
        assert (code, said.split(":")[0]) in {(0, "no connection changes"), (0, "no difference")}
