# SPDX-License-Identifier: Apache-2.0
"""The kubeconfig of a lab: readable by its user only, in a folder of their own, and gone with the lab."""

from __future__ import annotations

import stat
import subprocess
from typing import TYPE_CHECKING

import pytest
import yaml

from podfence.lab import access
from podfence.lab.access import Access
from podfence.lab.errors import LabError
from tests.lab.kubectl import KUBECTL, needs_kubectl

if TYPE_CHECKING:
    from pathlib import Path

ACCESS = Access("https://127.0.0.1:4711", "-----BEGIN CERTIFICATE-----\n", "secret")


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let XDG_RUNTIME_DIR be a folder of the test."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_the_file_and_its_folder_are_for_one_user() -> None:
    place = access.write(ACCESS, "shop")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


def test_the_file_has_one_context_with_the_token_and_the_authority() -> None:
    config = yaml.safe_load(access.write(ACCESS, "shop").read_text())
    assert config["current-context"] == config["contexts"][0]["name"] == "podfence-shop"
    assert config["users"][0]["user"] == {"token": "secret"}
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:4711"


@pytest.mark.parametrize("name", ["..", ".", "a.b", "-x"])
def test_the_name_of_a_lab_does_not_lead_elsewhere(name: str, runtime: Path) -> None:
    assert access.write(ACCESS, name).parent == runtime / "podfence"
    access.remove(name)
    assert list((runtime / "podfence").iterdir()) == []


def test_without_a_runtime_folder_it_is_among_the_temporary_files(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("tempfile.tempdir", str(runtime))
    assert access.write(ACCESS, "shop").parent.parent == runtime


def test_a_folder_that_others_can_read_or_that_is_a_link_is_refused(runtime: Path) -> None:
    folder = runtime / "podfence"
    folder.mkdir(mode=0o755)
    with pytest.raises(LabError, match="is not a folder that only you can read"):
        access.write(ACCESS, "shop")
    folder.rmdir()
    (runtime / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(runtime / "elsewhere")
    with pytest.raises(LabError, match="is not a folder that only you can read"):
        access.write(ACCESS, "shop")


def test_files_of_labs_that_have_ended_are_removed() -> None:
    kept, gone = access.write(ACCESS, "kept"), access.write(ACCESS, "gone")
    (gone.parent / "gone.cache").mkdir()
    access.remove_ended(["kept"])
    assert sorted(path.name for path in kept.parent.iterdir()) == ["kept.kubeconfig"]
    access.remove_ended([])
    assert list(kept.parent.iterdir()) == []


def test_removing_what_is_not_there_is_no_error(runtime: Path) -> None:
    access.remove("nothing")
    access.remove_ended(["nothing"])
    assert list(runtime.iterdir()) == []


@needs_kubectl
def test_kubectl_reads_the_file() -> None:
    access.write(ACCESS, "shop")
    command = (str(KUBECTL), "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    done = subprocess.run(command, env=access.environment("shop"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "https://127.0.0.1:4711"), done.stderr
