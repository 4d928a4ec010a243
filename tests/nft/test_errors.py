# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from podfence.errors import MissingProgramError, PodfenceError
from podfence.nft.chain import Chain
from podfence.nft.element import Element
from podfence.nft.errors import (
    AlreadyExistsError,
    BusyError,
    ConflictError,
    NftError,
    NftSyntaxError,
    NoBufferSpaceError,
    NotFoundError,
    NotInstalledError,
    PermissionDeniedError,
    classify,
)
from podfence.nft.process import NftRunner
from podfence.nft.rule import Rule
from podfence.nft.sets import Elements, Set
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from pathlib import Path

TABLE = Table("t")

SAID = [
    ("/dev/stdin:1:19-19: Error: Could not process rule: File exists\n", AlreadyExistsError, 1),
    (
        "/dev/stdin:2:19-20: Error: No such file or directory; did you mean table \u2018t\u2019 in family inet?\n",
        NotFoundError,
        2,
    ),
    ("/dev/stdin:1:27-36: Error: element does not exist\n", NotFoundError, 1),
    ("Error: No such file or directory\nlist table inet nope\n", NotFoundError, 0),
    ("/dev/stdin:1:21-21: Error: Could not process rule: Device or resource busy\n", BusyError, 1),
    ("/dev/stdin:1:24-34: Error: interval overlaps with an existing one\n", ConflictError, 1),
    ("/dev/stdin:1:37-47: Error: conflicting intervals specified\n", ConflictError, 1),
    ("/dev/stdin:2:18-24: Error: syntax error, unexpected counter, expecting string\n", NftSyntaxError, 2),
    ("netlink: Error: cache initialization failed: Operation not permitted\n", PermissionDeniedError, 0),
    ("Operation not permitted (you must be root)\n", PermissionDeniedError, 0),
    ("netlink: Error: Could not process rule: No buffer space available\n", NoBufferSpaceError, 0),
    ("internal:0:0-0: Error: Could not process rule: Message too long\n", NoBufferSpaceError, 0),
    ("netlink: Error: set is not a map\n", NftError, 0),
    ("/dev/stdin:1:1-24: Error: Could not process rule: Too many links\n", NftError, 1),
    ('Cannot open network namespace "nope": No such file or directory\n', NftError, 0),
    ("nsenter: cannot open /proc/1/ns/net: Permission denied\n", PermissionDeniedError, 0),
    ('exec of "nft" failed: No such file or directory\n', NotInstalledError, 0),
    ("nsenter: failed to execute nft: No such file or directory\n", NotInstalledError, 0),
    ("env: \u2018nft\u2019: No such file or directory\n", NotInstalledError, 0),
    ("sh: 1: nft: not found\n", NotInstalledError, 0),
    ("", NftError, 0),
]


@pytest.mark.parametrize(("stderr", "kind", "line"), SAID, ids=[said.strip()[:60] for said, _, _ in SAID])
def test_what_nft_says_has_one_class(stderr: str, kind: type[NftError], line: int) -> None:
    error = classify(stderr, "first\nsecond\n")

    assert type(error) is kind
    assert error.line == line
    assert error.statement == ["", "first", "second"][line]
    assert isinstance(error, PodfenceError)


def test_the_first_of_several_errors_decides() -> None:
    error = classify(
        "/dev/stdin:1:1-2: Error: File exists\n/dev/stdin:2:1-2: Error: Device or resource busy\n", "a\nb\n"
    )

    assert type(error) is AlreadyExistsError


def test_the_message_shows_the_part_of_a_long_line_that_is_concerned() -> None:
    ports = Set("s", ("inet_service",))
    script = str(Transaction(TABLE).add(Elements(ports, tuple(Element((str(n),)) for n in range(1000)))))
    column = script.index(" 777,") + 2

    error = classify(f"/dev/stdin:1:{column}-{column + 2}: Error: interval overlaps with an existing one", script)

    assert " 777," in str(error)
    assert len(str(error)) < 300
    assert error.statement == script.splitlines()[0]


def test_a_missing_nft_is_a_missing_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotInstalledError, match="nft is not on PATH") as caught:
        NftRunner().version()

    assert isinstance(caught.value, MissingProgramError)


def test_a_missing_nft_in_another_place_is_told_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = shutil.which("env")
    assert env is not None
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotInstalledError, match="cannot be started"):
        NftRunner(prefix=(env,)).version()


def test_nft_that_hangs_is_given_up(tmp_path: Path) -> None:
    hanging = tmp_path / "hang"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o755)

    with pytest.raises(NftError, match=r"no answer within 0\.05 s"):
        NftRunner(prefix=(str(hanging),), timeout=0.05).version()


def test_a_script_that_nft_cannot_parse_is_told_with_its_line(real: NftRunner) -> None:
    transaction = Transaction(TABLE).add(TABLE, Chain("c"), Rule("c", "gibberish"))

    with pytest.raises(NftSyntaxError) as caught:
        real.run(transaction)

    assert caught.value.line in {3, 4}  # nft sees the end of the line before the error
    assert "gibberish" in str(transaction).splitlines()[2]


def test_a_process_without_the_capability_is_refused(powerless: NftRunner) -> None:
    with pytest.raises(PermissionDeniedError):
        powerless.run(Transaction(TABLE).add(TABLE))


def test_a_namespace_that_does_not_exist_is_not_a_missing_table() -> None:
    if not shutil.which("ip"):
        pytest.skip("no namespace is entered: install iproute2")
    runner = NftRunner(prefix=("ip", "netns", "exec", "podfence-absent"))

    with pytest.raises(NftError) as caught:
        runner.list_chains(TABLE)

    assert type(caught.value) in {NftError, PermissionDeniedError}


def test_the_language_of_the_user_changes_no_class(real: NftRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LANG", "LANGUAGE"):
        monkeypatch.setenv(name, "de_DE.UTF-8")

    with pytest.raises(NotFoundError):
        real.list_chains(TABLE)


def test_a_listing_that_is_no_json_is_an_error(tmp_path: Path) -> None:
    talking = tmp_path / "talk"
    talking.write_text("#!/bin/sh\necho hello\n")
    talking.chmod(0o755)
    runner = NftRunner(prefix=(str(talking),))

    with pytest.raises(NftError, match="JSON cannot be read"):
        runner.list_elements(TABLE, Set("s", ("mark",)))
    with pytest.raises(NftError, match="tells no version"):
        runner.version()


def test_the_runner_leaves_the_environment_alone(real: NftRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")

    real.run(Transaction(TABLE).add(TABLE))

    assert (
        subprocess.run(["sh", "-c", "echo $LC_ALL"], capture_output=True, text=True, check=True).stdout == "C.UTF-8\n"
    )
