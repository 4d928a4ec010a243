# SPDX-License-Identifier: Apache-2.0
"""How the commands are run: in this process, and as a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from podfence.cli.main import commands
from tests.cli import manifests

if TYPE_CHECKING:
    from collections.abc import Callable

    from click.testing import Result

PROGRAM = Path(sys.executable).with_name("podfence")


@pytest.fixture
def run() -> Callable[..., Result]:
    """Return a function that runs a command line in this process."""

    def run(*args: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(commands, args, input=stdin)

    return run


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs the installed program."""

    def program(*args: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *args],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ | environ,
        )

    return program


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing in the environment that leads to a cluster."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a folder with the shop and its policy; its parent is the current folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "workloads.yaml").write_text(manifests.SHOP)
    (folder / "db.yaml").write_text(manifests.POLICY)
    monkeypatch.chdir(tmp_path)
    return "shop"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a file that is refused; its folder is the current one."""
    (tmp_path / "broken.yaml").write_text(manifests.BROKEN)
    monkeypatch.chdir(tmp_path)
    return "broken.yaml"
