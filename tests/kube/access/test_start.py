# SPDX-License-Identifier: Apache-2.0
"""Commands that read files do not pay for what reaches clusters."""

from __future__ import annotations

import subprocess
import sys


def test_reading_files_imports_nothing_of_it() -> None:
    code = "import sys, podfence, podfence.cli.main, podfence.kube.load; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "podfence.kube.load" in loaded
    assert not {"podfence.kube.access", "ssl", "podfence.kube.access.load"} & set(loaded)
