# SPDX-License-Identifier: Apache-2.0
"""The recipes of the tutorial are true in a real cluster: each page is typed into a terminal, and prints what it shows.

They run with stock kubectl, on the cluster of KUBECONFIG if it is set, else on the test bed with podfence. A cluster must
enforce NetworkPolicies and find the images that the pages name.
"""

from __future__ import annotations

import secrets
import subprocess
from functools import cache
from typing import TYPE_CHECKING

import pytest

from tests.kubernetes.sessions.performing import PAGES, perform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@cache
def _has_internet() -> bool:
    """Return whether pods find the address of a well-known name and are answered there."""
    name = f"podfence-internet-{secrets.token_hex(3)}"
    run = ("kubectl", "run", name, "--rm", "-i", "--restart=Never", "--image=busybox", "--namespace=default", "--quiet")
    command = (*run, "--", "wget", "-q", "--spider", "--timeout=5", "http://google.com")
    return subprocess.run(command, capture_output=True, check=False, timeout=180).returncode == 0


@cache
def _has_two_nodes() -> bool:
    nodes = subprocess.run(("kubectl", "get", "nodes", "--output=name"), capture_output=True, check=True, text=True)
    return len(nodes.stdout.split()) > 1


HAS: Mapping[str, Callable[[], bool]] = {
    "internet": _has_internet,
    "reachable nodes": lambda: True,
    "two reachable nodes": _has_two_nodes,
    "an API server for pods": lambda: True,
    "a server of today": lambda: True,
    "a lab": lambda: False,
}
"""How what a block needs is found out."""


@pytest.mark.parametrize("page", PAGES)
def test_page_prints_what_it_shows(page: Path, tmp_path: Path, subtests: pytest.Subtests) -> None:
    perform(page, tmp_path, HAS, subtests, attaches_late=True)
