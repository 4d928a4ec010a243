# SPDX-License-Identifier: Apache-2.0
"""The program as a process: pipes, signals, terminals, and its name as a plugin."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli import manifests
from tests.cli.conftest import PROGRAM

if TYPE_CHECKING:
    from collections.abc import Callable

    Program = Callable[..., subprocess.CompletedProcess[str]]


def _many_pods(count: int) -> str:
    pods = (
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{index}, namespace: shop, labels: {{n: '{index}'}}}}\n"
        "spec: {containers: [{name: c, image: i}]}\n"
        for index in range(count)
    )
    return "".join(pods)


def test_a_closed_pipe_is_silent(tmp_path: Path) -> None:
    (tmp_path / "pods.yaml").write_text(_many_pods(120))
    for flags in (("--pods",), ("--pods", "-o", "json"), ("--pods", "-o", "csv")):
        listing = subprocess.Popen(
            [PROGRAM, "list", *flags, "-f", tmp_path / "pods.yaml", "-q"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        first = subprocess.run(["head", "-1"], stdin=listing.stdout, capture_output=True, check=True)
        assert listing.stdout is not None
        listing.stdout.close()
        _, complaints = listing.communicate(timeout=60)

        assert first.stdout.count(b"\n") == 1
        assert complaints == b""
        assert listing.returncode == 141


@pytest.mark.parametrize("args", [("options",), ("schema", "Verdict"), ("version",), ("--help",), ("--version",)])
def test_a_pipe_closed_before_the_first_line_is_silent(args: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([PROGRAM, *args], stdout=writing, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("args", [("options",), ("--help",), ("lab", "--help"), ("--version",)])
def test_an_answer_that_cannot_be_written_is_an_error(args: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([PROGRAM, *args], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)

    assert done.returncode == 2
    assert done.stderr == b"podfence: error: the answer cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("streams", "code", "out", "err"),
    [
        (">&-", 2, b"", b"podfence: error: the answer cannot be written: standard output is closed\n"),
        ("<&- 2>&-", 0, b"allowed", b""),
    ],
)
def test_a_stream_that_is_closed_from_the_start_is_no_denial(
    streams: str, code: int, out: bytes, err: bytes, shop: str
) -> None:
    command = ["sh", "-c", f'"$@" {streams}', "sh", str(PROGRAM), "check", "shop/web", "shop/web", "80", "-f", shop]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)

    assert (done.returncode, done.stdout[: len(out)], done.stderr) == (code, out, err)


def test_a_working_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    command = f'mkdir gone && cd gone && rmdir ../gone && "{PROGRAM}" list -f /nothing'
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False, timeout=60)

    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"podfence: error: the working directory cannot be read: ")


def test_an_interrupt_ends_with_130_and_without_a_traceback() -> None:
    listing = subprocess.Popen(
        [PROGRAM, "list", "-f", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert listing.stdin is not None
    listing.stdin.write(b"# more than a pipe holds, so that the program is reading when this returns\n" * 4000)
    listing.stdin.flush()
    listing.send_signal(signal.SIGINT)
    out, err = listing.communicate(timeout=60)

    assert listing.returncode == 130
    assert (out, err.strip()) == (b"", b"")


def test_an_interrupt_during_the_imports_ends_with_130_and_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt\n")
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "podfence"], capture_output=True, check=False, timeout=60, env=environ)

    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_as_a_plugin_the_help_and_messages_say_kubectl_podfence(tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-podfence"
    plugin.write_text("from podfence.cli.main import main\nmain()\n")
    command = [sys.executable, str(plugin)]

    shown = subprocess.run([*command, "check", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "  kubectl podfence check [OPTIONS] SRC DST [PORT]\n" in shown
    assert "  kubectl podfence check shop/web shop/db 5432 -f manifests/\n" in shown

    refused = subprocess.run([*command, "list"], capture_output=True, text=True, check=False, timeout=60, env={})
    assert refused.stderr.endswith(" -A -o yaml | kubectl podfence list -f -\n")


def test_the_module_runs_as_the_program_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "podfence", "schema", "nothing"], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 2
    assert done.stderr.startswith("podfence: error: unknown kind")


def _on_a_terminal(args: list[str], **environ: str) -> str:
    """Return what the program writes to a terminal."""
    ours, theirs = pty.openpty()
    base = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    process = subprocess.Popen([PROGRAM, *args], stdout=theirs, stderr=theirs, env=base | {"TERM": "xterm"} | environ)
    os.close(theirs)
    text = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
        if not piece:
            break
        text += piece
    os.close(ours)
    process.wait(timeout=60)
    return text.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_unless_somebody_refuses(shop: str) -> None:
    # Else a bar is before the answer, on a machine that is busy.
    question = ["check", "shop/web", "shop/db", "5432", "-f", shop, "-q"]

    assert _on_a_terminal(question).startswith("\x1b[31mdenied\x1b[0m  ")
    for plain in (_on_a_terminal(question, NO_COLOR="1"), _on_a_terminal([*question, "--color=never"])):
        assert plain.startswith("denied  ")


def test_a_terminal_gets_a_header_and_no_line_wider_than_it_is(shop: str) -> None:
    shown = _on_a_terminal(["list", "-f", shop, "-q"], COLUMNS="44", NO_COLOR="1").splitlines()

    assert shown[0].split() == ["SOURCE", "DESTINATION", "PORTS"]
    assert max(map(len, shown)) <= 44


def test_what_is_missing_from_an_answer_fits_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "pod.yaml").write_text(manifests.SHOP)
    (tmp_path / "broken.yaml").write_text("kind: NetworkPolicy\n  apiVersion: [\n")
    shown = _on_a_terminal(["list", "-f", str(tmp_path), "-q", "--keep-going"], COLUMNS="44", NO_COLOR="1").splitlines()

    assert shown[0].startswith("incomplete:")
    assert max(map(len, shown)) <= 44


def test_the_options_fit_a_terminal() -> None:
    shown = _on_a_terminal(["options"], COLUMNS="80", NO_COLOR="1").splitlines()

    assert max(map(len, shown)) <= 80


def test_bytes_are_utf8_in_any_locale(tmp_path: Path, program: Program) -> None:
    (tmp_path / "policy.yaml").write_text(
        manifests.POLICY.replace("- from:", "- from: # für die Köche"), encoding="utf-8"
    )
    (tmp_path / "shop.yaml").write_text(manifests.SHOP)

    done = subprocess.run(
        [PROGRAM, "explain", "shop/web", "shop/db", "5432", "-q", "-f", tmp_path],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        check=False,
        timeout=60,
    )

    assert done.returncode == 1, done.stderr
    assert "für die Köche" in done.stdout.decode()
