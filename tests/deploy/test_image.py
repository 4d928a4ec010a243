# SPDX-License-Identifier: Apache-2.0
"""The image of the agent: what is in dist/podfence-image.tar, where `make image` has built it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ARCHIVE = ROOT / "dist" / "podfence-image.tar"
PROJECT = ROOT / "pyproject.toml"
VERSION = tomllib.loads(PROJECT.read_text())["project"]["version"]
LIMIT = 150_000_000

pytestmark = [
    pytest.mark.skipif(not ARCHIVE.exists(), reason=f"there is no {ARCHIVE}: `make image` builds it"),
    pytest.mark.skipif(
        ARCHIVE.exists() and ARCHIVE.stat().st_mtime < PROJECT.stat().st_mtime,
        reason=f"{ARCHIVE} is older than {PROJECT.name}: `make image` builds it anew",
    ),
]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can unpack the image and run what is in it")

# Says which programs and libraries need one that is not there.
UNRESOLVED = r"""
find /usr /opt -type f \( -perm /111 -o -name '*.so*' \) | while read -r file; do
    [ "$(head -c 4 "$file" | tr -d '\0\177')" = ELF ] || continue
    ldd "$file" 2>/dev/null | grep 'not found' | sed "s|^|$file|"
done
"""


@pytest.fixture(scope="module")
def described() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the archive's manifest and the image's configuration."""
    with tarfile.open(ARCHIVE) as archive:

        def content(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        (manifest,) = json.loads(content("manifest.json"))
        return manifest, json.loads(content(manifest["Config"]))


@pytest.fixture(scope="module")
def members(described: tuple[dict[str, Any], dict[str, Any]]) -> list[tarfile.TarInfo]:
    """Return what is in the layers."""
    found = []
    with tarfile.open(ARCHIVE) as archive:
        for layer in described[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                found += files.getmembers()
    return found


@pytest.fixture(scope="module")
def root(described: tuple[dict[str, Any], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory in which the image is unpacked."""
    folder = tmp_path_factory.mktemp("image")
    with tarfile.open(ARCHIVE) as archive:
        for layer in described[0]["Layers"]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                files.extractall(folder, filter="tar")
    return folder


def inside(root: Path, *command: str) -> str:
    """Run a command in the image with the image's PATH, and return what it wrote."""
    path = {"PATH": "/opt/podfence/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(("chroot", root, *command), env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_has_the_name_and_the_version(described: tuple[dict[str, Any], dict[str, Any]]) -> None:
    (name,) = described[0]["RepoTags"]

    assert name.split("/")[-1] == f"podfence:{VERSION}"


def test_it_starts_the_agent(described: tuple[dict[str, Any], dict[str, Any]]) -> None:
    config = described[1]["config"]

    assert (config["Entrypoint"], config["Cmd"]) == (["podfence"], ["agent"])


def test_it_is_small(members: list[tarfile.TarInfo]) -> None:
    assert sum(member.size for member in members) < LIMIT
    assert ARCHIVE.stat().st_size < LIMIT


def test_no_program_gives_its_caller_other_rights(members: list[tarfile.TarInfo]) -> None:
    assert [item.name for item in members if item.isfile() and item.mode & (stat.S_ISUID | stat.S_ISGID)] == []


def test_no_file_has_capabilities_of_its_own(members: list[tarfile.TarInfo]) -> None:
    assert [item.name for item in members if any("capability" in name for name in item.pax_headers)] == []


@pytest.mark.parametrize(
    "pattern",
    [
        r"(^|/)(gcc|g\+\+|cc|cc1|as|ld|make|clang)(-[\d.]+)?$",
        r"(^|/)pip([\d.]*|/.*)$",
        r"^usr/bin/(apt|apt-get|perl)$",
        r"^root/.cache/.+",
        r"^var/(cache|lib/apt/lists|log)/.+",
        r"^usr/share/(man|locale)/.+",
        r"^(tmp|var/tmp)/.+",
        r"^etc/resolv\.conf$",
    ],
    ids=["compilers", "pip", "installers", "caches", "left by apt", "manuals", "temporary files", "the builder's DNS"],
)
def test_nothing_is_left_of(members: list[tarfile.TarInfo], pattern: str) -> None:
    names = [item.name.removeprefix("./") for item in members if item.size]

    assert [name for name in names if re.search(pattern, name)] == []


def test_licences_are_there(members: list[tarfile.TarInfo]) -> None:
    names = {item.name.removeprefix("./") for item in members}

    assert "usr/share/doc/nftables/copyright" in names
    assert any(name.endswith(f"podfence-{VERSION}.dist-info/licenses/LICENSE") for name in names)


@as_root
def test_it_tells_its_version(root: Path) -> None:
    assert inside(root, "podfence", "version") == f"podfence {VERSION}\n"


@as_root
def test_it_has_every_library_that_something_in_it_needs(root: Path) -> None:
    assert inside(root, "sh", "-c", UNRESOLVED) == ""


@as_root
def test_it_has_what_the_agent_imports_in_its_fast_forms(root: Path) -> None:
    code = (
        "import asyncio, ssl, structlog, prometheus_client, msgspec._core, yaml.cyaml, aiohttp._http_parser, "
        "frozenlist._frozenlist, multidict._multidict, yarl._quoting_c, propcache._helpers_c, podfence.agent.node.main"
    )

    inside(root, "/opt/podfence/bin/python", "-c", code)


@as_root
def test_its_modules_need_not_be_compiled_at_the_start(root: Path) -> None:
    told = subprocess.run(
        ("chroot", root, "/opt/podfence/bin/python", "-v", "-c", "import podfence.cli.main"),
        capture_output=True,
        text=True,
        check=True,
    ).stderr

    assert "wrote" not in told
    assert "podfence/cli/__pycache__/main" in told
    assert not [line for line in told.splitlines() if re.search(r"code object from '?/", line) and ".pyc" not in line]


@as_root
def test_its_nft_is_one_that_podfence_is_tested_with(root: Path) -> None:
    assert inside(root, "nft", "--version").startswith("nftables v1.0.6 ")
