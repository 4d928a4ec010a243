# SPDX-License-Identifier: Apache-2.0
"""podfence.toml says what a repository's commands read, and says so; what cannot be in it is named."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.cli import manifests

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowhere: None) -> Path:
    """Make the current folder one below a configuration, with manifests beside it."""
    monkeypatch.delenv("PODFENCE_CONFIG", raising=False)
    for name, text in {"deploy/shop.yaml": manifests.SHOP, "deploy/old/p.yaml": manifests.POLICY}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "podfence.toml").write_text('filename = "deploy"\nrecursive = true\nexclude = ["old/"]\n')
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    return tmp_path


def test_commands_need_no_flags_and_say_what_they_rest_on(run: Run, repository: Path) -> None:
    result = run("list")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == run("list", "--no-config", "-f", "../deploy/shop.yaml").stdout
    assert result.stderr.splitlines()[:2] == [
        "note: ../podfence.toml: reads ../deploy and subfolders",
        "note: ../podfence.toml: leaves out old/",
    ]


def test_flags_count_before_the_file_and_its_exclusions_stay(run: Run, repository: Path) -> None:
    result = run("list", "-f", "../deploy", "-R")
    assert "reads" not in result.stderr
    assert "1 excluded file or folder (../deploy/old/)" in result.stderr
    assert "excluded" not in run("list", "--no-config", "-f", "../deploy", "-R").stderr


def test_config_prints_what_is_in_force_and_from_where(run: Run, repository: Path) -> None:
    (repository / "podfence.toml").write_text('filename = ["deploy"]\nnamespace = "shop"\noptions.validation = "lax"\n')
    assert run("config").stdout == (
        "filename            ../deploy  ../podfence.toml\n"
        "recursive           false      default\n"
        "exclude             nothing    default\n"
        "namespace           shop       ../podfence.toml\n"
        "options.validation  lax        ../podfence.toml\n"
    )
    assert run("config", "--no-config").stdout.splitlines()[0].split() == [
        "filename",
        "the",
        "live",
        "cluster",
        "default",
    ]
    assert "../podfence.toml: sets validation=lax, which lets pass what an API server refuses" in run("list").stderr


def test_the_namespace_is_that_of_bare_names_and_a_flag_counts_before_it(run: Run, repository: Path) -> None:
    (repository / "podfence.toml").write_text('filename = "deploy"\nrecursive = true\nnamespace = "shop"\n')
    assert run("check", "api", "db", "5432").exit_code == 0
    assert run("check", "api", "db", "5432", "-n", "other").exit_code == 2


def test_the_table_of_a_pyproject_counts_too_and_one_without_does_not(run: Run, repository: Path) -> None:
    (repository / "sub" / "pyproject.toml").write_text("[tool.ruff]\n")
    assert "../podfence.toml" in run("config").stdout
    (repository / "sub" / "pyproject.toml").write_text('[tool.podfence]\nnamespace = "x"\n')
    assert "namespace  x                 pyproject.toml" in run("config").stdout


def test_nothing_is_looked_for_above_the_repository(run: Run, repository: Path) -> None:
    (repository / "sub" / ".git").mkdir()
    assert "podfence.toml" not in run("config").stdout


def test_another_file_or_none_can_be_asked_for(run: Run, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = repository / "sub" / "other.toml"
    other.write_text('namespace = "y"\n')
    assert "other.toml" in run("config", "--config", "other.toml").stdout
    monkeypatch.setenv("PODFENCE_CONFIG", str(other))
    assert "other.toml" in run("config").stdout
    assert "podfence.toml" in run("config", "--config", "../podfence.toml").stdout
    for nothing in ("", "/dev/null"):
        monkeypatch.setenv("PODFENCE_CONFIG", nothing)
        assert " y " not in run("config").stdout
    assert run("config", "--config", "x", "--no-config").exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filenames = 1\n", "../podfence.toml: unknown key 'filenames'; did you mean filename?"),
        (
            "zzz = 1\n",
            "../podfence.toml: unknown key 'zzz'; there are filename, recursive, exclude, options, namespace",
        ),
        ("filename = 1\n", "../podfence.toml: filename: expected a text or a list of texts, found 1"),
        ("filename = [1]\n", "../podfence.toml: filename: expected a text or a list of texts, found [1]"),
        ('recursive = "yes"\n', "../podfence.toml: recursive: expected true or false, found 'yes'"),
        ("exclude = [true]\n", "../podfence.toml: exclude: expected a text or a list of texts, found [True]"),
        ("namespace = 1\n", "../podfence.toml: namespace: expected a text, found 1"),
        ('options = "x"\n', "../podfence.toml: options: expected a table of texts"),
        ("options.validation = 1\n", "../podfence.toml: options: expected a table of texts"),
        ('options.hairpn = "x"\n', "../podfence.toml: options: unknown option 'hairpn'; did you mean hairpin?"),
        ('options.hairpin = "x"\n', "../podfence.toml: options: option hairpin: 'x' is not one of"),
        ('filename = "/etc"\n', "../podfence.toml: filename: /etc is not in the folder of this file; give it with -f"),
        ('filename = "../x"\n', "../podfence.toml: filename: ../x is not in the folder of this file; give it with -f"),
        ('filename = "out"\n', "../podfence.toml: filename: out is not in the folder of this file; give it with -f"),
        ("filename = \n", "../podfence.toml: invalid value (at line 1, column 12)"),
        ("\xff", "../podfence.toml: the text is not UTF-8; save it as UTF-8"),
        ("# " + "x" * (1 << 20), "../podfence.toml: is larger than 1 MB, the limit for a configuration file"),
    ],
)
def test_what_cannot_be_in_the_file_is_named(run: Run, repository: Path, text: str, message: str) -> None:
    (repository / "out").symlink_to("/etc")
    (repository / "podfence.toml").write_bytes(text.encode("latin-1"))
    for command in ("config", "list"):
        result = run(command)
        assert result.exit_code == 2
        assert message in result.stderr


def test_a_file_that_is_none_is_not_read(run: Run, repository: Path) -> None:
    os.mkfifo(repository / "sub" / "podfence.toml")
    assert "../podfence.toml" in run("config").stdout
    assert "is not a file" in run("config", "--config", "podfence.toml").stderr
    assert "cannot be read: no such file" in run("config", "--config", "nothing.toml").stderr
