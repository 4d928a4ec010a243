# SPDX-License-Identifier: Apache-2.0
"""A shell of this machine that is prepared for a lab: kubectl finds it there."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Final

_BASH: Final = """\
[ -f ~/.bashrc ] && . ~/.bashrc
alias k=kubectl
if command -v kubectl >/dev/null; then
    . <(kubectl completion bash)
    complete -o default -F __start_kubectl k
fi
PS1="($PODFENCE_LAB) $PS1"
"""


def run(lab: str) -> int:
    """Run the user's shell with the kubeconfig of a lab, and return its exit code.

    In bash, `k` is short for kubectl, and both are completed. Other shells have the variables only.
    """
    from podfence.lab import access

    shell = os.environ.get("SHELL") or "/bin/sh"
    environ = os.environ | access.environment(lab)
    # The shell decides what Ctrl-C means; this process only waits for it.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        if Path(shell).name != "bash":
            return subprocess.run((shell,), env=environ, check=False).returncode
        preparations = os.memfd_create("bashrc", 0)
        try:
            os.write(preparations, _BASH.encode())
            os.lseek(preparations, 0, os.SEEK_SET)
            command = (shell, "--rcfile", f"/dev/fd/{preparations}", "-i")
            return subprocess.run(command, env=environ, pass_fds=(preparations,), check=False).returncode
        finally:
            os.close(preparations)
    finally:
        signal.signal(signal.SIGINT, before)
