# SPDX-License-Identifier: Apache-2.0
"""A network namespace for tests that talk to the real nft.

A process that does nothing holds the namespace. It waits on a pipe from the tests, so it ends with them, however
they end, and the kernel then removes the namespace with all that is in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from podfence.nft.errors import NftError
from podfence.nft.process import NftRunner
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = {"nft": "nftables", "unshare": "util-linux", "nsenter": "util-linux"}


@pytest.fixture(scope="session")
def namespace() -> Iterator[tuple[str, ...]]:
    """Yield the command prefix that runs a program in a network namespace of this test run alone."""
    absent = [f"{tool} (package {package})" for tool, package in TOOLS.items() if not shutil.which(tool)]
    if absent:
        pytest.skip(f"the real nft is not asked: install {', '.join(absent)}")
    root = os.geteuid() == 0
    user = () if root else ("--user", "--map-root-user")
    with subprocess.Popen(
        ["unshare", *user, "--net", "sh", "-c", "echo ready; exec cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            if holder.stdout.readline() != b"ready\n":
                reason = holder.stderr.read().decode().strip()
                pytest.skip(f"no network namespace ({reason}): run as root, or allow user namespaces")
            enter: tuple[str, ...] = ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
            if not root:
                enter = (*enter, f"--user=/proc/{holder.pid}/ns/user", "--preserve-credentials")
            prefix = (*enter, "--")
            try:
                NftRunner(prefix=prefix).check(Transaction(Table("try")).add(Table("try")))
            except NftError as error:
                pytest.skip(f"this kernel runs no nft in a namespace ({error}): run as root, with nf_tables loaded")
            yield prefix
        finally:
            holder.kill()


@pytest.fixture
def real(namespace: tuple[str, ...]) -> Iterator[NftRunner]:
    """Yield a runner for the real nft, with nothing in its namespace."""
    runner = NftRunner(prefix=namespace)
    subprocess.run([*namespace, "nft", "flush", "ruleset"], check=True)
    yield runner
    subprocess.run([*namespace, "nft", "flush", "ruleset"], check=True)


@pytest.fixture
def powerless(namespace: tuple[str, ...]) -> NftRunner:
    """Return a runner in the same namespace whose nft may change nothing."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("capabilities are not dropped: run as root, with setpriv (package util-linux)")
    return NftRunner(prefix=(*namespace, "setpriv", "--bounding-set=-all", "--inh-caps=-all"))
