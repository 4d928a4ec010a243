# SPDX-License-Identifier: Apache-2.0
"""``podfence lab kubectl`` and ``podfence lab kubeconfig``: the machine's kubectl, for a lab, and a shell with it."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Final

import click

from podfence.cli import outputs
from podfence.cli.commands import Command
from podfence.cli.lab import shared

_EXAMPLES = """
podfence lab kubectl get pods --all-namespaces
podfence lab kubectl run -it --rm client --image=alpine -- sh
"""

_BASH: Final = """\
[ -f ~/.bashrc ] && . ~/.bashrc
alias k=kubectl
if command -v kubectl >/dev/null; then
    . <(kubectl completion bash)
    complete -o default -F __start_kubectl k
fi
PS1="($PODFENCE_LAB) $PS1"
"""


@click.command(
    cls=Command,
    examples=_EXAMPLES,
    exits="that of kubectl, or 2 if the lab does not exist",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ARG...]")
@shared.named
def command(*, words: tuple[str, ...], name: str) -> int:
    """Run the kubectl on PATH with the kubeconfig of a lab. Everything but --name is kubectl's."""
    import shutil

    from podfence.errors import MissingProgramError
    from podfence.lab import access

    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise MissingProgramError(
            "there is no kubectl on PATH; install version 1.30 or newer: https://kubernetes.io/docs/tasks/tools/"
        )
    shared.client(name).kubeconfig()
    os.execve(kubectl, ("kubectl", *words), os.environ | access.environment(name))  # noqa: S606 - this is the command


@click.command(
    "kubeconfig",
    cls=Command,
    examples="export KUBECONFIG=$(podfence lab kubeconfig)\nkubectl get pods",
    exits="0  printed\n2  the lab does not exist, or has no API server",
)
@shared.named
def kubeconfig(*, name: str) -> int:
    """Print the path of the lab's kubeconfig. It has the only context that leads to the lab.

    The file is readable by you only, and goes with the lab. Your own kubeconfig stays as it is.
    """
    outputs.write([str(shared.client(name).kubeconfig())])
    return 0


def shell(lab: str) -> int:
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
