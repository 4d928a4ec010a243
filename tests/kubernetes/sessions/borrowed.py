# SPDX-License-Identifier: Apache-2.0
"""Namespaces that a session may call its own, in a cluster where others work as well.

Pages speak of `default`, and of the namespaces they create. A session uses namespaces of other names in their place,
which nobody has, and none of its own is left when it ends.
"""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from tests.kubernetes.sessions.page import Block

DEFAULT: Final = "default"

_PATIENCE: Final = 60.0
"""Seconds until a namespace must have what every namespace has."""

_CREATED: Final = re.compile(r"^kubectl create (?:namespace|ns) (?P<name>[\w-]+)", re.MULTILINE)
_NAMESPACE: Final = re.compile(r"(?: -n |--namespace=)(?P<name>\S+)")


class Namespaces:
    """The namespaces of one session: `default` exists from entering to leaving, the others are the session's to make."""

    def __init__(self, prefix: str, blocks: Iterable[Block], kubeconfig: Path) -> None:
        created = [
            match["name"] for block in blocks for step in block.steps for match in _CREATED.finditer(step.command)
        ]
        self.names = {name: f"{prefix}-{name}" for name in (DEFAULT, *created)}
        self._kubeconfig = kubeconfig
        self._guests: list[tuple[str, str]] = []
        # Written as a word of a command, in a URL, after `namespace:`; a label's value has `=` or another key before it.
        words = "|".join(map(re.escape, self.names))
        self._named = re.compile(
            rf"(?:(?<=--namespace=)|(?<=namespace: )|(?<![\w=-])(?<!: ))(?P<name>{words})(?![\w-])"
        )

    def __enter__(self) -> Self:
        """Create the namespace that stands for `default` and make it the context's own."""
        name = self.names[DEFAULT]
        config = self.kubectl("config", "view", "--raw", "--flatten", "--minify", own=False)
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(config)
        self.kubectl("create", "namespace", name)
        self.settle("create namespace default")
        self.kubectl("config", "set-context", "--current", f"--namespace={name}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Delete what is left."""
        for namespace, pod in self._guests:
            self.kubectl("delete", "pod", pod, f"--namespace={namespace}", "--ignore-not-found", "--wait=false")
        self.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", *self.names.values())

    def kubectl(self, *words: str, own: bool = True) -> str:
        """Return what kubectl prints; a failure raises CalledProcessError, with what it said."""
        file = (f"--kubeconfig={self._kubeconfig}",) if own else ()
        done = subprocess.run(("kubectl", *file, *words), check=False, capture_output=True, text=True)
        if done.returncode:
            error = subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
            error.add_note(done.stderr)
            raise error
        return done.stdout

    def settle(self, command: str) -> None:
        """After a namespace was created, wait for what no pod starts without; a person is slower than that."""
        for match in re.finditer(r"create (?:namespace|ns) (?P<name>[\w-]+)", command):
            words = ("get", "serviceaccount/default", "--ignore-not-found", f"--namespace={self.names[match['name']]}")
            # kubectl 1.30 cannot wait for what does not exist yet.
            deadline = time.monotonic() + _PATIENCE
            while not self.kubectl(*words):
                assert time.monotonic() < deadline, f"{match['name']} has no ServiceAccount"

    def away(self, command: str) -> str:
        """Return a command of a page with the session's own namespaces, and with names that are known beforehand."""
        pod = f"test-{secrets.randbelow(32768)}"
        command = self._named.sub(lambda match: self.names[match["name"]], command).replace("test-$RANDOM", pod)
        abroad = _NAMESPACE.search(command)
        if pod in command and abroad and abroad["name"] not in self.names.values():
            self._guests.append((abroad["name"], pod))
        return command

    def back(self, printed: str) -> str:
        """Return what a command printed with the namespaces of the page."""
        for name, own in self.names.items():
            printed = printed.replace(own, name)
        return printed

    def left(self) -> list[str]:
        """Return what a session that has come to its end did not take away."""
        there = self.kubectl("get", "namespace", "--output=name").split()
        namespaces = [own for own in self.names.values() if own != self.names[DEFAULT] and f"namespace/{own}" in there]
        kinds = "pods,services,deployments,replicasets,jobs,networkpolicies"
        objects = json.loads(self.kubectl("get", kinds, "--output=json"))["items"]
        # What is being taken away is gone as far as its reader cares.
        staying = [item for item in objects if "deletionTimestamp" not in item["metadata"]]
        return namespaces + [f"{item['kind']}/{item['metadata']['name']}" for item in staying]
