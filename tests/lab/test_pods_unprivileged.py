# SPDX-License-Identifier: Apache-2.0
"""All that pods do, they do without any right over the machine: the same tests, in the namespaces of a lab.

But for those of what programs print, which no rights change.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = "test_images_answer or test_tools_say or test_the_shell_is or test_an_open_port"
SANDBOX = ("unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc")  # fmt: skip


def test_pods_need_no_rights_over_the_machine(checkout: Path, tmp_path: Path) -> None:
    if subprocess.run([*SANDBOX, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not allowed here")
    tests = Path(__file__).with_name("test_pods.py")
    command = [*SANDBOX, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/inside", "-k", f"not ({PROGRAMS})", str(tests)]  # fmt: skip
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
