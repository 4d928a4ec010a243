# SPDX-License-Identifier: Apache-2.0
"""Files in commits are read as files in folders are, and reading them runs nothing of the repository."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import podfence
from podfence.errors import InputError, MissingProgramError
from podfence.kube.git import GitError
from podfence.kube.parsed import Parsed
from tests.cli.manifests import BROKEN, POLICY, SHOP
from tests.repositories import ENVIRON, Checkout

if TYPE_CHECKING:
    from podfence.api import Cluster

QUESTION = ("shop/api", "shop/db", 5432)
OTHER = POLICY.replace("{app: api}", "{app: web}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("template"))
    made.commit({"deploy/shop.yaml": SHOP, "deploy/db.yaml": POLICY, "README.md": "text"})
    return made


@pytest.fixture
def checkout(template: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    made = template.copied(tmp_path / "repository")
    monkeypatch.chdir(made.folder)
    return made


def reason(cluster: Cluster) -> str:
    return cluster.check(*QUESTION).reason


def test_a_commit_is_read_and_not_what_the_working_tree_has_instead(checkout: Checkout) -> None:
    checkout.write({"deploy/db.yaml": OTHER, "deploy/new.yaml": BROKEN})
    assert "(git:HEAD:deploy/db.yaml:1)" in reason(podfence.load("git:HEAD:deploy"))
    checkout.commit({"deploy/new.yaml": ""})
    assert podfence.load("git:HEAD~1:deploy").check(*QUESTION).allowed
    assert podfence.load("git:HEAD:deploy").check(*QUESTION).allowed is False


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        (".", "git:HEAD:deploy"),
        (".", "git:HEAD:./deploy"),
        (".", "git:HEAD:deploy/*.yaml"),
        ("deploy", "git:HEAD"),
        ("deploy", "git:HEAD:deploy"),
        ("deploy", "git:HEAD:."),
        ("deploy", "git:HEAD:../deploy"),
        (".", "git:main:deploy"),
        (".", "git:heads/main:deploy/"),
    ],
)
def test_a_path_starts_at_the_root_and_with_a_dot_in_the_working_directory(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, folder: str, text: str
) -> None:
    monkeypatch.chdir(checkout.folder / folder)
    assert podfence.load(text).check(*QUESTION).allowed


def test_a_file_of_a_commit_is_read_whatever_its_name_is(checkout: Checkout) -> None:
    checkout.commit({"shop.txt": SHOP})
    assert len(podfence.load("git:HEAD:shop.txt").state.workloads) == 3


def test_problems_name_the_commit_and_the_line(checkout: Checkout) -> None:
    checkout.commit({"deploy/broken.yaml": BROKEN})
    with pytest.raises(InputError, match=r"(?s)\Agit:HEAD:deploy/broken\.yaml:8:13: error: spec\.ingress"):
        podfence.load("git:HEAD:deploy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("git:nope", "git:nope: there is no revision nope here"),
        ("git:--help", "git:--help: there is no revision --help here"),
        ("git:-n:deploy", "git:-n: there is no revision -n here"),
        ("git:main..HEAD", "git:main..HEAD: there is no revision main..HEAD here"),
        ("git:", "git:: a revision is missing; write git:REV or git:REV:PATH"),
        ("git::deploy", "git:: a revision is missing; write git:REV or git:REV:PATH"),
        ("git:HEAD:/etc", "git:HEAD:/etc: not a path in the repository"),
        ("git:HEAD:../x", "git:HEAD:../x: not a path in the repository"),
        ("git:HEAD:deploy/../../x", "git:HEAD:deploy/../../x: not a path in the repository"),
        ("git:HEAD:nope", "git:HEAD:nope: error: no such file or folder"),
        ("git:HEAD:README.md/x", "git:HEAD:README.md/x: error: no such file or folder"),
        ("git:HEAD:nope*", "git:HEAD:nope*: error: the pattern matches no file"),
        ("git:HEAD\n", "there is no revision"),
    ],
)
def test_what_is_not_in_the_repository_is_named(checkout: Checkout, text: str, message: str) -> None:
    with pytest.raises((GitError, InputError)) as raised:
        podfence.load(text)
    assert message in str(raised.value)
    assert "/tmp" not in str(raised.value)  # noqa: S108 - no name of a temporary folder is shown


def test_a_folder_in_no_repository_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(GitError, match=r"\Agit:REV: this folder is not in a git repository\Z"):
        podfence.load("git:HEAD")


def test_without_git_the_missing_program_is_named(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(checkout.folder))
    with pytest.raises(MissingProgramError, match="need git on PATH"):
        podfence.load("git:HEAD")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_the_repository_of_another_user_is_refused_with_gits_remedy(checkout: Checkout) -> None:
    os.chown(checkout.folder, 12345, 12345)
    with pytest.raises(GitError, match=r"belongs to another user \(allow it: git config --global --add safe\.direc"):
        podfence.load("git:HEAD")


def test_a_bare_repository_is_read_too(checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout.git("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    monkeypatch.chdir(tmp_path / "bare")
    assert podfence.load("git:HEAD:deploy").check(*QUESTION).allowed


# The branch that a change is to be merged into


@pytest.fixture
def branch(checkout: Checkout) -> Checkout:
    """Return a checkout of a branch that has closed the database, while main has gone on."""
    checkout.git("checkout", "-q", "-b", "topic")
    checkout.commit({"deploy/db.yaml": OTHER})
    checkout.git("checkout", "-q", "main")
    checkout.commit({"deploy/db.yaml": POLICY.replace("5432", "1")})
    checkout.git("checkout", "-q", "topic")
    return checkout


@pytest.mark.parametrize("variable", ["", "GITHUB_BASE_REF", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"])
def test_the_merge_base_is_where_a_branch_was_left(
    branch: Checkout, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    if variable:
        branch.git("branch", "-q", "-m", "main", "trunk")
        with pytest.raises(GitError, match=r"there is no branch .*main or master here \(name the branch with --base"):
            podfence.load("git:merge-base:deploy")
        assert podfence.load("git:merge-base:deploy", base="trunk").check(*QUESTION).allowed
        monkeypatch.setenv(variable, "trunk")
    cluster = podfence.load("git:merge-base:deploy")
    assert cluster.check(*QUESTION).allowed
    assert "(git:merge-base:deploy/db.yaml:1)" in reason(cluster)


def test_a_branch_that_does_not_exist_or_looks_like_a_flag_is_named(branch: Checkout) -> None:
    for name in ("nope", "--all"):
        with pytest.raises(GitError, match=f"there is no branch {name} or origin/{name} here"):
            podfence.load("git:merge-base", base=name)


def test_branches_without_a_common_commit_have_no_merge_base(branch: Checkout) -> None:
    branch.git("checkout", "-q", "--orphan", "other")
    branch.commit()
    with pytest.raises(GitError, match=r"HEAD and main have no commit in common \(name the branch"):
        podfence.load("git:merge-base")


def test_a_shallow_clone_says_how_to_get_the_history(
    branch: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch.git("clone", "-q", "--depth=1", "--no-single-branch", f"file://{branch.folder}", str(tmp_path / "shallow"))
    monkeypatch.chdir(tmp_path / "shallow")
    assert podfence.load("git:HEAD:deploy").check(*QUESTION).allowed is False
    subprocess.run(["git", "remote", "set-head", "origin", "main"], check=True)
    for text in ("git:merge-base", "git:HEAD~1"):
        with pytest.raises(GitError, match=r"shallow; get the whole history: git fetch --unshallow, or fetch-depth: 0"):
            podfence.load(text)


# What is not in a commit


@pytest.mark.parametrize("recursive", [True, False])
def test_a_submodule_is_a_gap_where_subfolders_are_read(checkout: Checkout, tmp_path: Path, *, recursive: bool) -> None:
    other = Checkout(tmp_path / "other")
    other.commit({"policy.yaml": OTHER})
    checkout.git("submodule", "--quiet", "add", str(other.folder), "deploy/vendor")
    checkout.commit()
    gaps = [str(gap) for gap in podfence.load("git:HEAD:deploy", recursive=recursive).gaps]
    assert gaps == recursive * ["submodule git:HEAD:deploy/vendor was not read (compare folders with its files)"]


def test_a_file_in_git_lfs_is_a_gap(checkout: Checkout) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    checkout.commit({"deploy/big.yaml": pointer})
    gaps = [gap.what for gap in podfence.load("git:HEAD:deploy").gaps]
    assert gaps == ["git:HEAD:deploy/big.yaml is kept in Git LFS and was not read"]


@pytest.mark.parametrize(
    ("target", "gaps"),
    [
        ("db.yaml", 0),
        ("../deploy/db.yaml", 0),
        ("nowhere.yaml", 0),
        ("../elsewhere/extra.yaml", 1),
        ("SECRET", 1),
        ("round/round/../../../../../../../../../../SECRET", 1),
    ],
)
def test_links_are_followed_inside_of_what_is_read_and_nowhere_else(
    checkout: Checkout, tmp_path: Path, target: str, gaps: int
) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text(OTHER.replace("name: db", "name: secret"))
    checkout.write({"elsewhere/extra.yaml": OTHER})
    (checkout.folder / "deploy" / "round").symlink_to("../deploy")
    (checkout.folder / "deploy" / "link.yaml").symlink_to(
        target.replace("/SECRET", str(secret)).replace("SECRET", str(secret))
    )
    checkout.commit()
    committed = podfence.load("git:HEAD:deploy")
    assert len(committed.gaps) == gaps
    assert committed.check(*QUESTION).allowed is not False
    assert [policy.name for policy in committed.state.policies["shop"].values()] == ["db"]
    with pytest.raises(InputError):
        # Named by somebody, what leads out is empty.
        podfence.load("git:HEAD:deploy/link.yaml" if gaps else "git:HEAD:deploy/nothing")


def test_a_commit_that_somebody_has_forged_writes_nothing_elsewhere(checkout: Checkout, tmp_path: Path) -> None:
    blob = checkout.git("hash-object", "-w", "--stdin", stdin=POLICY.encode())
    link = checkout.git("hash-object", "-w", "--stdin", stdin=str(tmp_path).encode())

    def tree(*entries: tuple[str, str, str]) -> str:
        raw = b"".join(f"{mode} {name}".encode() + b"\0" + bytes.fromhex(sha) for mode, name, sha in entries)
        return checkout.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=raw)

    inner = tree(("100644", "stolen.yaml", blob))
    for forged in (
        tree(("40000", "..", inner), ("100644", "db.yaml", blob)),
        tree(("100644", "../stolen.yaml", blob), ("100644", "db.yaml", blob)),
        tree(("120000", "a", link), ("40000", "a", inner), ("100644", "db.yaml", blob)),
    ):
        assert len(podfence.load(f"git:{forged}").state.policies) == 1
        assert not list(tmp_path.rglob("stolen.yaml"))


# What a repository cannot make podfence do


def test_nothing_of_the_repository_is_run(checkout: Checkout, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    program.chmod(0o755)
    checkout.commit({".gitattributes": "*.yaml filter=evil diff=evil text eol=crlf export-subst ident\n"})
    for name in (
        *("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "core.gitProxy", "core.askPass"),
        *("filter.evil.smudge", "filter.evil.clean", "filter.evil.process", "diff.evil.textconv", "diff.external"),
        *("pager.ls-tree", "pager.rev-parse", "alias.ls-tree", "alias.cat-file", "credential.helper"),
        *("uploadpack.packObjectsHook", "core.alternateRefsCommand", "gpg.program", "diff.evil.command"),
    ):
        checkout.git("config", name, str(program))
    hooks = checkout.folder / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("post-checkout", "post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"):
        (hooks / name).write_bytes(program.read_bytes())
        (hooks / name).chmod(0o755)
    for text in ("git:HEAD:deploy", "git:merge-base:deploy"):
        assert podfence.load(text).check(*QUESTION).allowed
    assert not marker.exists()


def test_what_a_partial_clone_lacks_is_not_fetched(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    checkout.git("config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    checkout.git("clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{checkout.folder}", str(partial))
    monkeypatch.chdir(partial)
    for url in (f"ext::sh -c touch% {marker}", f"file://{checkout.folder}"):
        subprocess.run(["git", "config", "remote.origin.url", url], check=True)
        subprocess.run(["git", "config", "remote.origin.uploadpack", f"touch {marker}; git-upload-pack"], check=True)
        with pytest.raises(GitError, match=r"deploy/\w+\.yaml: this clone does not have the file; fetch it with git"):
            podfence.load("git:HEAD:deploy")
    assert not marker.exists()


# The temporary folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def test_nothing_is_left_of_what_was_exported(checkout: Checkout, temporary: Path) -> None:
    podfence.load("git:HEAD:deploy")
    checkout.commit({"deploy/broken.yaml": BROKEN})
    for text in ("git:HEAD:deploy", "git:nope", "git:HEAD:nope"):
        with pytest.raises((GitError, InputError)):
            podfence.load(text)
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "number", "code"),
    [
        (("diff", "git:HEAD", "git:HEAD", "-k", "deploy"), signal.SIGINT, 130),
        (("diff", "git:HEAD", "git:HEAD", "-k", "deploy"), signal.SIGTERM, 143),
        (("list", "-k", "git:HEAD:deploy"), signal.SIGTERM, 143),
    ],
)
def test_nothing_is_left_after_a_signal(
    checkout: Checkout, temporary: Path, asked: tuple[str, ...], number: int, code: int
) -> None:
    started = checkout.folder / "started"
    os.mkfifo(started)
    programs = checkout.folder / "programs"
    programs.mkdir()
    (programs / "kustomize").write_text(f"#!/bin/sh\nls -d {temporary}/podfence-* >{started}\nexec sleep 60\n")
    (programs / "kustomize").chmod(0o755)
    process = subprocess.Popen(
        [Path(sys.executable).with_name("podfence"), *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}"},
    )
    with process:
        assert started.read_text().startswith(f"{temporary}/podfence-")
        process.send_signal(number)
        assert process.wait(30) == code
        assert process.communicate()[1].strip() == b""
    assert list(temporary.iterdir()) == []


def test_what_two_inputs_share_is_parsed_once_and_named_as_each_names_it(checkout: Checkout) -> None:
    checkout.write({"deploy/db.yaml": OTHER, "deploy/twice.yaml": "a: 1\na: 2\nkind: ConfigMap\napiVersion: v1\n"})
    checkout.commit()
    checkout.write({"deploy/db.yaml": POLICY})
    parsed = Parsed()
    for text, allowed in (("git:HEAD:deploy", False), ("deploy", True)):
        shared, alone = (podfence.load(text, parsed=kept) for kept in (parsed, None))
        assert shared.warnings == alone.warnings
        assert shared.warnings[0].position.file.startswith(text)
        assert shared.check(*QUESTION) == alone.check(*QUESTION)
        assert shared.check(*QUESTION).allowed is allowed
