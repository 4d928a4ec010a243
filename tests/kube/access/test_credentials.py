# SPDX-License-Identifier: Apache-2.0
"""Credentials change while a client runs: tokens in files rotate, and plugins, real programs here, are asked again."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from podfence.errors import AccessError
from podfence.kube.access import credentials as plugins
from podfence.kube.access.credentials import Credentials
from tests.kube.access.kubeconfigs import PLUGIN, Fields, of, single

if TYPE_CHECKING:
    from podfence.kube.access.credentials import Issued

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def issuer(path: str, clock: Clock, environ: dict[str, str] | None = None) -> Credentials:
    return Credentials(of(path), dict(os.environ) | (environ or {}), monotonic=clock, now=clock)


def header(issued: Issued) -> str:
    return issued.authorization.reveal() if issued.authorization is not None else ""


def test_what_never_changes_is_the_same_value(tmp_path: Path, clock: Clock) -> None:
    credentials = issuer(single(tmp_path / "config", user={"token": "t"}), clock)
    first = credentials.current()
    assert header(first) == "Bearer t"
    assert credentials.current() is first
    assert credentials.rejected(first) is first
    assert header(issuer(single(tmp_path / "config"), clock).current()) == ""
    assert (
        header(issuer(single(tmp_path / "config", user={"username": "u", "password": "p"}), clock).current())
        == "Basic dTpw"
    )


def test_a_token_file_is_read_again_after_a_minute_and_not_before(tmp_path: Path, clock: Clock) -> None:
    token = tmp_path / "token"
    token.write_text(" one\n")
    credentials = issuer(single(tmp_path / "config", user={"tokenFile": "token"}), clock)
    first = credentials.current()
    assert header(first) == "Bearer one"
    token.write_text("two")
    clock.time += 59
    assert credentials.current() is first
    clock.time += 1
    assert header(credentials.current()) == "Bearer two"


def test_a_refused_token_is_read_again_at_once_but_only_once(tmp_path: Path, clock: Clock) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    credentials = issuer(single(tmp_path / "config", user={"tokenFile": "token"}), clock)
    first = credentials.current()
    token.write_text("two")
    second = credentials.rejected(first)
    assert header(second) == "Bearer two"
    token.write_text("three")
    # A late refusal of the first token says nothing about the second.
    assert credentials.rejected(first) is second


def test_a_token_that_cannot_be_read_again_stays(tmp_path: Path, clock: Clock) -> None:
    token = tmp_path / "token"
    token.write_text("one")
    credentials = issuer(single(tmp_path / "config", user={"tokenFile": "token"}), clock)
    first = credentials.current()
    token.unlink()
    clock.time += 100
    assert credentials.current() is first
    token.write_text("two")
    clock.time += 100
    assert header(credentials.current()) == "Bearer two"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: no such file or directory"),
        (b"\n", "is empty"),
        (b"s3cret\nmore", "holds blanks or control characters"),
        (b"\xff\xfe", "cannot be read: it is no text"),
    ],
)
def test_a_token_file_without_a_token(tmp_path: Path, clock: Clock, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(AccessError) as caught:
        issuer(single(tmp_path / "config", user={"tokenFile": "token"}), clock).current()
    assert str(caught.value) == f"the token in {tmp_path}/token {message}"
    # A token beside it is what is left.
    credentials = issuer(single(tmp_path / "config", user={"tokenFile": "token", "token": "spare"}), clock)
    assert header(credentials.current()) == "Bearer spare"


def test_certificate_files_are_read_again(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "crt").write_text("c1")
    (tmp_path / "key").write_text("k1")
    user = {"client-certificate": "crt", "client-key": "key"}
    credentials = issuer(single(tmp_path / "config", user=user), clock)
    first = credentials.current()
    assert first.pair is not None
    assert (first.pair.certificate, first.pair.key.reveal()) == (b"c1", b"k1")
    (tmp_path / "crt").write_text("c2")
    assert credentials.current() is first
    clock.time += 60
    second = credentials.current()
    assert second.pair is not None
    assert second.pair.certificate == b"c2"
    (tmp_path / "crt").write_text("c3")
    third = credentials.rejected(second)
    assert third.pair is not None
    assert third.pair.certificate == b"c3"
    (tmp_path / "key").unlink()
    assert credentials.rejected(third) is third


def test_a_certificate_that_is_gone_before_it_was_read_is_named(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "crt").write_text("c")
    (tmp_path / "key").write_text("k")
    credentials = issuer(single(tmp_path / "config", user={"client-certificate": "crt", "client-key": "key"}), clock)
    (tmp_path / "key").unlink()
    with pytest.raises(AccessError, match="key cannot be read: no such file or directory"):
        credentials.current()


def script(folder: Path, text: str) -> str:
    """Write a program that counts its runs in the file `runs` and then does what `text` says."""
    path, program = folder / "give", folder / "give.py"
    program.write_text(f"import json, os, sys\nopen({str(folder / 'runs')!r}, 'a').write('x')\n{text}\n")
    # Through a shell: a first line that names an interpreter cannot have a space in the path of it.
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I {shlex.quote(str(program))} "$@"\n')
    path.chmod(0o700)
    return str(path)


def giving(status: object, version: str = V1) -> str:
    return f"print({json.dumps({'apiVersion': version, 'kind': 'ExecCredential', 'status': status})!r})"


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text()) if (folder / "runs").exists() else 0


def with_plugin(folder: Path, text: str, *, cluster: Fields | None = None, **changes: object) -> str:
    settings = PLUGIN | {"command": script(folder, text)} | changes
    return single(folder / "config", user={"exec": settings}, cluster=cluster)


def test_a_plugin_is_asked_once_for_a_token_without_an_end(tmp_path: Path, clock: Clock) -> None:
    credentials = issuer(with_plugin(tmp_path, giving({"token": "t"})), clock)
    assert runs(tmp_path) == 0
    first = credentials.current()
    clock.time += 1e9
    assert credentials.current() is first
    assert (header(first), runs(tmp_path)) == ("Bearer t", 1)


def test_a_plugin_is_asked_again_when_its_token_has_expired(tmp_path: Path, clock: Clock) -> None:
    # The timestamp is 1,000,060 seconds after the epoch; the token tells the runs apart.
    answer = giving({"token": "tN", "expirationTimestamp": "1970-01-12T14:47:40+01:00"})
    text = f"runs = len(open({str(tmp_path / 'runs')!r}).read())\n{answer[:-1]}.replace('N', str(runs)))"
    credentials = issuer(with_plugin(tmp_path, text), clock)
    first = credentials.current()
    clock.time = 1_000_060.0
    assert credentials.current() is first
    clock.time = 1_000_060.5
    assert (header(first), header(credentials.current())) == ("Bearer t1", "Bearer t2")


def test_a_refused_token_of_a_plugin_is_asked_for_again(tmp_path: Path, clock: Clock) -> None:
    credentials = issuer(with_plugin(tmp_path, giving({"token": "t"})), clock)
    credentials.rejected(credentials.current())
    assert runs(tmp_path) == 2


def test_all_who_wait_share_one_run(tmp_path: Path, clock: Clock) -> None:
    credentials = issuer(with_plugin(tmp_path, giving({"token": "t"})), clock)
    found: list[Issued] = []
    threads = [threading.Thread(target=lambda: found.append(credentials.current())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    assert all(issued is found[0] for issued in found)
    assert runs(tmp_path) == 1


def test_what_a_plugin_is_given(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "ca").write_bytes(b"authority")
    cluster = {
        "certificate-authority": "ca",
        "tls-server-name": "name",
        "proxy-url": "http://proxy",
        "disable-compression": True,
        "extensions": [{"name": "other"}, {"name": "client.authentication.k8s.io/exec", "extension": {"audience": 1}}],
    }
    text = (
        f"json.dump([sys.argv[1:], os.environ['MINE'], os.environ['KEPT'], os.environ['KUBERNETES_EXEC_INFO'],"
        f" sys.stdin.read()], open({str(tmp_path / 'given')!r}, 'w'))\n" + giving({"token": "t"}, V1BETA1)
    )
    changes = {
        "args": ["a", "b c"],
        "env": [{"name": "MINE", "value": "m"}],
        "apiVersion": V1BETA1,
        "interactiveMode": "",
    }
    credentials = issuer(
        with_plugin(tmp_path, text, cluster=cluster, provideClusterInfo=True, **changes), clock, {"KEPT": "k"}
    )
    credentials.current()
    args, mine, kept, info, stdin = json.loads((tmp_path / "given").read_text())
    assert (args, mine, kept, stdin) == (["a", "b c"], "m", "k", "")
    assert json.loads(info) == {
        "apiVersion": V1BETA1,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {
                "server": "https://api.example:6443",
                "certificate-authority-data": "YXV0aG9yaXR5",
                "tls-server-name": "name",
                "proxy-url": "http://proxy",
                "disable-compression": True,
                "config": {"audience": 1},
            },
        },
    }
    issuer(with_plugin(tmp_path, text, cluster=cluster, **changes), clock, {"KEPT": "k"}).current()
    assert json.loads(json.loads((tmp_path / "given").read_text())[3])["spec"] == {"interactive": False}


def test_a_plugin_without_a_slash_is_looked_up_in_the_path(tmp_path: Path, clock: Clock) -> None:
    script(tmp_path, giving({"token": "t"}))
    path = single(tmp_path / "config", user={"exec": PLUGIN})
    assert header(issuer(path, clock, {"PATH": str(tmp_path)}).current()) == "Bearer t"


def test_a_plugin_may_give_a_certificate(tmp_path: Path, clock: Clock) -> None:
    status = {"clientCertificateData": "c", "clientKeyData": "s3cret"}
    issued = issuer(with_plugin(tmp_path, giving(status)), clock).current()
    assert issued.authorization is None
    assert issued.pair is not None
    assert (issued.pair.certificate, issued.pair.key.reveal()) == (b"c", b"s3cret")
    assert "s3cret" not in repr(issued)


def test_a_plugin_may_answer_in_yaml(tmp_path: Path, clock: Clock) -> None:
    text = f"print('apiVersion: {V1}\\nkind: ExecCredential\\nstatus:\\n  token: t')"
    assert header(issuer(with_plugin(tmp_path, text), clock).current()) == "Bearer t"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sys.exit('no login: \\x1b[31mred')", "failed with exit code 1:\nno login: [31mred"),
        ("os.kill(os.getpid(), 9)", "died of signal 9"),
        ("print('s3cret')", "wrote no ExecCredential"),
        ("print('{s3cret')", "wrote no ExecCredential"),
        ("pass", "wrote no ExecCredential"),
        (giving({"token": 5}), "wrote no ExecCredential"),
        (giving({"token": "s3cret"}).replace("ExecC", "C"), "wrote no ExecCredential"),
        (giving({"token": "s3cret"}, V1BETA1), f"wrote another version than {V1}, which it is configured for"),
        (giving(None), "wrote an ExecCredential without status"),
        (giving({}), "gave neither a token nor a certificate"),
        (giving({"clientKeyData": "s3cret"}), "gave a certificate without its key, or a key without its certificate"),
        (giving({"token": "s3cret\nx"}), "gave a token with blanks, line breaks or control characters in it"),
        (giving({"token": "s3cret", "expirationTimestamp": "soon"}), "gave an expirationTimestamp that is none of RFC 3339"),
        (giving({"token": "s3cret", "expirationTimestamp": "2030-01-01T00:00:00"}), "gave an expirationTimestamp without a time zone"),
        ("print('warned', file=sys.stderr)", "wrote no ExecCredential:\nwarned"),
    ],
)  # fmt: skip
def test_a_plugin_that_fails_is_named_with_what_it_told(tmp_path: Path, clock: Clock, text: str, message: str) -> None:
    path = with_plugin(tmp_path, text)
    with pytest.raises(AccessError) as caught:
        issuer(path, clock).current()
    assert str(caught.value) == f"{path}:1: exec plugin {tmp_path}/give {message}"


@pytest.mark.parametrize("command", ["missing", "/no/missing", "./config"])
def test_a_plugin_that_is_not_there_is_named_with_its_hint(tmp_path: Path, clock: Clock, command: str) -> None:
    settings = PLUGIN | {"command": command, "installHint": "brew install \x1b[1mgive\nthen log in"}
    path = single(tmp_path / "config", user={"exec": settings})
    with pytest.raises(AccessError, match=r"is not there, or cannot be executed\nbrew install .1mgive\nthen log in$"):
        issuer(path, clock).current()


def test_a_plugin_that_cannot_be_started_is_named(tmp_path: Path, clock: Clock) -> None:
    path = with_plugin(tmp_path, "")
    (tmp_path / "give").write_text("#!/no/interpreter\n")
    with pytest.raises(AccessError, match="give cannot be started: no such file or directory"):
        issuer(path, clock).current()
    with pytest.raises(AccessError, match="its arguments or variables hold a null character"):
        issuer(with_plugin(tmp_path, "", args=["s3cret\0"]), clock).current()


def test_a_plugin_that_hangs_is_ended(tmp_path: Path) -> None:
    access = of(
        with_plugin(
            tmp_path, "print('waiting', file=sys.stderr, flush=True)\nsys.stdin = None\nimport signal\nsignal.pause()"
        )
    )
    assert access.plugin is not None
    with pytest.raises(AccessError, match=r"took longer than 0\.5 s"):
        plugins.ask(access.plugin, os.environ, timeout=0.5)


def test_a_plugin_that_needs_somebody_is_not_run_without_a_terminal(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(AccessError, match="wants to talk to somebody, and standard input is no terminal"):
            issuer(with_plugin(tmp_path, giving({"token": "t"}), interactiveMode="Always"), clock).current()
    assert runs(tmp_path) == 0


@pytest.mark.parametrize(("mode", "is_interactive"), [("Never", False), ("IfAvailable", True), ("Always", True)])
def test_a_plugin_gets_the_terminal_if_it_wants_it(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, mode: str, is_interactive: bool
) -> None:
    given = "json.dump([os.environ['KUBERNETES_EXEC_INFO'], os.isatty(0)], "
    text = f"{given}open({str(tmp_path / 'given')!r}, 'w'))\n" + giving({"token": "t"})
    path = with_plugin(tmp_path, text, interactiveMode=mode)
    leader, follower = os.openpty()
    with os.fdopen(leader), os.fdopen(follower) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        issuer(path, clock).current()
    info, has_terminal = json.loads((tmp_path / "given").read_text())
    assert json.loads(info)["spec"]["interactive"] is has_terminal is is_interactive
