# SPDX-License-Identifier: Apache-2.0
"""The paths of -f and -k stand for what they stand for in kubectl, and what cannot be read is named."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from podfence.errors import MissingProgramError
from podfence.kube import files, folders, rendering

if TYPE_CHECKING:
    from pathlib import Path

_REFUSES_READING = pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the current folder an empty one, so that names are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name: {name}\n")


def read(*paths: str, recursive: bool = False, stdin: bytes = b"") -> tuple[list[str], list[str]]:
    found = files.read(paths, recursive=recursive, stdin=io.BytesIO(stdin), forgiving=False)
    return [document.file for document in found.documents], [str(problem) for problem in found.problems]


def test_a_file_may_have_any_name(folder: Path) -> None:
    write(folder, "policy.txt")
    assert read("policy.txt") == (["policy.txt"], [])
    assert read("./policy.txt") == (["./policy.txt"], [])


def test_a_folder_gives_its_manifests_in_order_of_name(folder: Path) -> None:
    write(folder, "d/b.yml", "d/a.yaml", "d/c.json", "d/z.txt", "d/.yaml.swp", "d/sub/x.yaml", "d/.hidden.yaml")
    assert read("d") == (["d/.hidden.yaml", "d/a.yaml", "d/b.yml", "d/c.json"], [])
    assert read("d/")[0][1] == "d/a.yaml"


def test_subfolders_are_read_on_request_in_their_place(folder: Path) -> None:
    write(folder, "d/b.yaml", "d/a/1.yaml", "d/a/deep/2.yaml", "d/c/3.yaml")
    assert read("d", recursive=True) == (["d/a/1.yaml", "d/a/deep/2.yaml", "d/b.yaml", "d/c/3.yaml"], [])


def test_a_folder_called_like_a_file_is_a_folder(folder: Path) -> None:
    write(folder, "d/x.yaml/inner.yaml", "d/y.yaml")
    assert read("d") == (["d/y.yaml"], [])
    assert read("d", recursive=True) == (["d/x.yaml/inner.yaml", "d/y.yaml"], [])


def test_files_are_read_in_the_order_given_and_once(folder: Path) -> None:
    write(folder, "b.yaml", "a.yaml", "d/c.yaml")
    (folder / "link.yaml").symlink_to("a.yaml")
    assert read("b.yaml", "a.yaml", "d", "./b.yaml", "link.yaml", "d/c.yaml") == (["b.yaml", "a.yaml", "d/c.yaml"], [])


def test_standard_input_is_read_once(folder: Path) -> None:
    write(folder, "a.yaml")
    assert read("-", "a.yaml", "-", stdin=b"x: 1\n---\ny: 2\n") == (["<stdin>", "<stdin>", "a.yaml"], [])


def test_patterns_that_the_shell_did_not_expand_are_expanded(folder: Path) -> None:
    write(folder, "b.yaml", "a.yaml", "c.txt")
    assert read("*.yaml") == (["a.yaml", "b.yaml"], [])
    assert read("*.json") == ([], ["*.json: error: the pattern matches no file"])


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(folder: Path) -> None:
    write(folder, "a[1].yaml", "a1.yaml")
    assert read("a[1].yaml") == (["a[1].yaml"], [])


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("nope.yaml", "nope.yaml: error: no such file or folder"),
        ("nope/x.yaml", "nope/x.yaml: error: no such file or folder"),
        ("a.yaml/x", "a.yaml/x: error: cannot be read: not a directory"),
        ("", '"": error: this is no path'),
        ("a\0b", "a\\0b: error: this is no path"),
        ("n" * 300, f"{'n' * 300}: error: cannot be read: file name too long"),
        ("empty", "empty: error: no .json, .yaml or .yml file in this folder"),
        (
            "deep",
            "deep: error: no .json, .yaml or .yml file in this folder (its subfolders have some; add -R to read them)",
        ),
        ("pipe", "pipe: error: is a pipe, not a file (pipe it into -f -)"),
        ("/dev/null", "/dev/null: error: is a device, not a file (pipe it into -f -)"),
        ("dangling", "dangling: error: the link points to nowhere, which does not exist"),
        ("loop", "loop: error: cannot be read: too many levels of symbolic links"),
        ("with-pipe", "with-pipe/p.yaml: error: is a pipe, not a file (pipe it into -f -)"),
        ("with-link", "with-link/l.yaml: error: the link points to ../nowhere, which does not exist"),
        ("with-loop", "with-loop/l.yaml: error: cannot be read: too many levels of symbolic links"),
        (
            "http://example.org/a.yaml",
            "http://example.org/a.yaml: error: addresses are not read (download it and give the file, or pipe it into -f -)",
        ),
        (
            "HTTPS://example.org/",
            "HTTPS://example.org/: error: addresses are not read (download it and give the file, or pipe it into -f -)",
        ),
        ("image.yaml", "image.yaml: error: this is binary data, not YAML or JSON"),
        ("packed.yaml", "packed.yaml: error: this is gzip data, not YAML or JSON (unpack it first)"),
    ],
)
def test_what_cannot_be_read_is_named(folder: Path, path: str, problem: str) -> None:
    write(folder, "a.yaml", "deep/er/b.yaml")
    for name in ("empty", "with-pipe", "with-link", "with-loop"):
        (folder / name).mkdir()
    os.mkfifo(folder / "pipe")
    os.mkfifo(folder / "with-pipe" / "p.yaml")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "with-link" / "l.yaml").symlink_to("../nowhere")
    (folder / "with-loop" / "l.yaml").symlink_to("l.yaml")
    (folder / "image.yaml").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100))
    (folder / "packed.yaml").write_bytes(b"\x1f\x8b\x08" + bytes(100))
    assert read(path) == ([], [problem])
    assert read(path, "a.yaml")[0] == ["a.yaml"]


def test_links_to_folders_are_followed_where_they_are_named_and_nowhere_else(folder: Path) -> None:
    write(folder, "real/a.yaml")
    (folder / "real" / "again").symlink_to(".")
    (folder / "named").symlink_to("real")
    assert read("named", recursive=True) == (
        ["named/a.yaml"],
        ["named/again: warning: a link to a folder is not followed (give the folder itself)"],
    )
    assert read("real") == (["real/a.yaml"], [])


@_REFUSES_READING
def test_files_and_folders_without_permission_are_named(folder: Path) -> None:
    write(folder, "secret.yaml", "closed/a.yaml")
    (folder / "secret.yaml").chmod(0)
    (folder / "closed").chmod(0)
    try:
        problems = read("secret.yaml", "closed", "closed/a.yaml")[1]
    finally:
        (folder / "closed").chmod(0o700)
    assert problems == [
        "closed: error: cannot be read: permission denied",
        "closed/a.yaml: error: cannot be read: permission denied",
        "secret.yaml: error: cannot be read: permission denied",
    ]


def test_files_that_are_too_large_are_refused_unread(folder: Path) -> None:
    with (folder / "large.yaml").open("wb") as file:
        file.truncate(folders.SIZE_LIMIT + 1)
    assert read("large.yaml") == (
        [],
        ["large.yaml: error: has 256 MB; inputs over 256 MB are not read (split it into several files)"],
    )


def test_a_name_that_is_not_utf_8_can_be_printed(folder: Path) -> None:
    name = os.fsdecode(b"a\xff.yaml")
    (folder / name).write_text("a: 1\n")
    assert read(name) == (["a\ufffd.yaml"], [])


def test_a_pipe_that_the_shell_opened_is_read(folder: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a: 1\n")
    os.close(writing)
    try:
        assert read(f"/dev/fd/{reading}") == ([f"/dev/fd/{reading}"], [])
    finally:
        os.close(reading)
    assert list(folder.iterdir()) == []


def test_progress_counts_inputs_and_the_part_read_of_one(folder: Path) -> None:
    write(folder, "d/a.yaml", "d/b.yaml", "c.yaml")
    (folder / "c.yaml").write_text("a: 1\n---\nb: 2\n")
    seen: list[tuple[float, int]] = []
    files.read(["d", "c.yaml"], forgiving=False, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen if done == int(done)] == [1, 1, 2, 2, 3, 3]
    assert [round(done, 2) for done, _ in seen if 2 < done < 3] == [2.36]
    assert {total for _, total in seen} == {3}


def program(folder: Path, name: str, script: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("name", "task"), [("kustomize", "build"), ("kubectl", "kustomize")])
def test_kustomize_is_run_by_whichever_program_there_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, task: str
) -> None:
    program(folder, name, 'echo "args: $*"')
    monkeypatch.setenv("PATH", str(folder / "bin"))
    found = files.read([], kustomize=["overlay"])
    documents, problems = found.documents, found.problems
    assert [document.value for document in documents] == [{"args": f"{task} -- overlay"}]
    assert str(documents[0].locate(("args",))) == "overlay (kustomize):1"
    assert problems == []


def test_kustomize_comes_after_the_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, "a.yaml")
    program(folder, "kustomize", 'echo "b: 1"')
    monkeypatch.setenv("PATH", str(folder / "bin"))
    seen: list[tuple[float, int]] = []
    documents = files.read(
        ["a.yaml"], kustomize=["."], progress=lambda done, total: seen.append((done, total))
    ).documents
    assert [document.file for document in documents] == ["a.yaml", ". (kustomize)"]
    assert list(dict.fromkeys(seen)) == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('echo "Error: no kustomization.yaml" >&2; exit 1', "kustomize build failed: no kustomization.yaml"),
        ("exit 3", "kustomize build failed: exit code 3"),
    ],
)
def test_what_kustomize_says_becomes_the_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    program(folder, "kustomize", script)
    monkeypatch.setenv("PATH", str(folder / "bin"))
    assert [str(problem) for problem in files.read([], kustomize=["o"]).problems] == [
        f"o (kustomize): error: {message}"
    ]


def test_kustomize_that_does_not_end_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(folder, "kustomize", "exec /bin/sleep 30")
    monkeypatch.setenv("PATH", str(folder / "bin"))
    monkeypatch.setattr(rendering, "TIMEOUT", 0.1)
    assert "kustomize build did not end within 0.1 seconds" in str(files.read([], kustomize=["o"]).problems[0])


def test_without_kustomize_and_kubectl_both_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(MissingProgramError, match="kustomize or kubectl"):
        files.read([], kustomize=["o"])


def test_standard_input_of_the_process_is_the_default() -> None:
    code = "from podfence.kube import files; print(files.read(['-']).documents[0].value)"
    done = subprocess.run([sys.executable, "-c", code], input=b"a: y\n", capture_output=True, check=True)
    assert done.stdout == b"{'a': True}\n"
