# SPDX-License-Identifier: Apache-2.0
"""A release, made in a clone: the version stands everywhere, and the files install and say which version they are."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from tests.test_packaging import clean_environment

ROOT = Path(__file__).resolve().parent.parent
NEXT: Final = "9.8.7"


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    identity = {f"GIT_{who}_{what}": "nobody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    environment = clean_environment() | identity
    return subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def done(*command: str | Path, cwd: Path) -> str:
    answer = run(*command, cwd=cwd)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def commit(folder: Path) -> None:
    done("git", "add", "-A", cwd=folder)
    done("git", "commit", "-q", "--no-verify", "-m", "next", cwd=folder)


def copied(to: Path) -> Path:
    """Return a repository with the files of this checkout, and its environment."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    if listed.returncode:
        pytest.skip("needs git, and a checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    (to / ".venv").symlink_to(Path(sys.executable).parent.parent)
    (to / ".git" / "info").mkdir(parents=True, exist_ok=True)
    done("git", "init", "-q", cwd=to)
    (to / ".git" / "info" / "exclude").write_text(".venv\n")
    commit(to)
    return to


def version_before(folder: Path) -> str:
    """Return the version of the commit before the one that is checked out."""
    return done("git", "show", "HEAD~1:pyproject.toml", cwd=folder).partition('\nversion = "')[2].partition('"')[0]


@pytest.fixture(scope="module")
def versioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy in which the next release has begun, with news about it."""
    folder = copied(tmp_path_factory.mktemp("checkout"))
    (folder / "changelog.d" / "+something.added.md").write_text("Something new.\n")
    commit(folder)
    done("sh", "scripts/version", NEXT, cwd=folder)
    commit(folder)
    return folder


@pytest.fixture(scope="module")
def released(versioned: Path) -> Path:
    """Return the folder with the files that Python installs, and what is about them."""
    if find_spec("cyclonedx") is None:
        pytest.skip("needs what requirements/release.lock pins: sh scripts/with release")
    done("sh", "scripts/release", "python", cwd=versioned)
    return versioned / "dist" / "release"


def test_the_version_stands_wherever_it_did(versioned: Path) -> None:
    before = version_before(versioned)
    for name in ("pyproject.toml", "deploy/chart/podfence/Chart.yaml", "deploy/install.yaml", "deploy/cleanup.yaml"):
        text = (versioned / name).read_text()
        then = done("git", "show", f"HEAD~1:{name}", cwd=versioned)
        assert text == then.replace(f'"{before}"', f'"{NEXT}"').replace(
            f"ersion: {before}\n", f"ersion: {NEXT}\n"
        ).replace(f"podfence:{before}\n", f"podfence:{NEXT}\n")
        assert text.count(NEXT) == then.count(before) > 0


def test_no_page_shows_the_version_before_except_for_what_was_measured_with_it(versioned: Path) -> None:
    before = version_before(versioned)
    pages = ("README.md", "docs", "examples")
    found = run("git", "grep", "-lwF", before, "--", *pages, cwd=versioned).stdout.splitlines()

    assert NEXT in done("git", "grep", "-hwF", NEXT, "--", *pages, cwd=versioned)
    assert all(name.startswith("docs/reference/benchmarks") for name in found)


def test_news_become_a_section_of_the_changelog(versioned: Path) -> None:
    assert not list((versioned / "changelog.d").glob("*.md"))
    section = (versioned / "CHANGELOG.md").read_text().partition(f"## {NEXT} (")[2]
    assert "- Something new.\n" in section


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("README.md", "not committed"),
        ("changelog.d/+more.added.md", "scripts/version"),
        ("CHANGELOG.md", "has no section about 9.8.7"),
    ],
)
def test_nothing_is_released_of_what_is_not_complete(versioned: Path, tmp_path: Path, change: str, says: str) -> None:
    done("git", "clone", "-q", versioned, "checkout", cwd=tmp_path)
    folder = tmp_path / "checkout"
    (folder / change).write_text("something\n")
    if "committed" not in says:
        commit(folder)

    answer = run("sh", "scripts/release", "python", cwd=folder)

    assert answer.returncode == 2
    assert says in answer.stderr


def test_a_part_that_there_is_not_is_refused_before_anything_is_removed(versioned: Path, tmp_path: Path) -> None:
    done("git", "clone", "-q", versioned, "checkout", cwd=tmp_path)
    kept = tmp_path / "checkout" / "dist" / "release" / "file"
    kept.parent.mkdir(parents=True)
    kept.touch()

    answer = run("sh", "scripts/release", "weel", cwd=tmp_path / "checkout")

    assert (answer.returncode, answer.stderr) == (
        2,
        "release: there is no part 'weel'; there are python, chart and image\n",
    )
    assert kept.exists()


@pytest.mark.parametrize(("version", "says"), [("", "not a version"), ("1.0", "not a version"), (NEXT, "already")])
def test_a_version_that_cannot_be_the_next_is_refused(versioned: Path, version: str, says: str) -> None:
    answer = run("sh", "scripts/version", version, cwd=versioned)

    assert answer.returncode == 2
    assert says in answer.stderr


def test_a_version_is_not_written_without_the_tools_that_it_takes(versioned: Path, tmp_path: Path) -> None:
    done("git", "clone", "-q", versioned, "checkout", cwd=tmp_path)

    answer = run("sh", "scripts/version", "9.9.9", cwd=tmp_path / "checkout")

    assert (answer.returncode, "sh scripts/setup" in answer.stderr) == (2, True)
    assert not done("git", "status", "--porcelain", cwd=tmp_path / "checkout")


def test_what_is_released_has_checksums_that_hold(released: Path) -> None:
    names = {path.name for path in released.iterdir()} - {"SHA256SUMS"}

    assert names == {
        "CHANGES.md",
        f"podfence-{NEXT}-py3-none-any.whl",
        f"podfence-{NEXT}.tar.gz",
        f"podfence-{NEXT}.cdx.json",
    }
    assert done("sha256sum", "--check", "SHA256SUMS", cwd=released).count(": OK\n") == len(names)


def test_the_parts_of_the_wheel_are_those_that_are_pinned(released: Path) -> None:
    told = json.loads((released / f"podfence-{NEXT}.cdx.json").read_text())
    pinned = {
        line.split("==")[0] for line in (ROOT / "requirements" / "agent.lock").read_text().splitlines() if "==" in line
    }

    assert told["metadata"]["component"]["version"] == NEXT
    assert {item["name"] for item in told["components"]} == pinned


@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_released_file_installs_and_answers(released: Path, tmp_path: Path, kind: str) -> None:
    (file,) = released.glob(f"podfence-{NEXT}*.{kind}")
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python3*/site-packages")
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "--disable-pip-version-check")
    if kind == "tar.gz":
        with tarfile.open(file) as source:
            source.extractall(tmp_path, filter="data")
        done(
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "--target",
            "wheel",
            "--directory",
            tmp_path,
            cwd=tmp_path / f"podfence-{NEXT}",
        )
        (file,) = tmp_path.glob("*.whl")
    done(*pip, "install", "--quiet", "--no-index", "--no-deps", file, cwd=tmp_path)
    # Lines of a .pth file are plain paths: the .pth file of the checkout's own editable install is not followed.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    assert NEXT in done(folder / "bin" / "podfence", "version", cwd=tmp_path)


def test_the_same_commit_gives_the_same_files(released: Path, versioned: Path) -> None:
    before = {path.name: path.read_bytes() for path in released.iterdir()}

    done("sh", "scripts/release", "python", cwd=versioned)

    assert {path.name: path.read_bytes() for path in released.iterdir()} == before
