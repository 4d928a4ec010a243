# SPDX-License-Identifier: Apache-2.0
"""Exceptions become one message and an exit code."""

from __future__ import annotations

import click
import pytest

from podfence.cli import errors
from podfence.errors import EndpointError


def _raise(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (EndpointError("no pod shop/x"), 2, "podfence: error: no pod shop/x\n"),
        (click.ClickException("odd"), 2, "podfence: error: odd\n"),
        (click.UsageError("odd"), 2, "podfence: error: odd\n"),
        (KeyboardInterrupt(), 130, ""),
        (click.Abort(), 130, ""),
        (errors.ClosedPipeError(), 141, ""),
        (
            ZeroDivisionError("division\nby zero"),
            2,
            (
                "podfence: internal error: ZeroDivisionError: division by zero;"
                " please report it (PODFENCE_DEBUG=1 shows the traceback)\n"
            ),
        ),
        (
            RecursionError(),
            2,
            "podfence: internal error: RecursionError; please report it (PODFENCE_DEBUG=1 shows the traceback)\n",
        ),
    ],
)
def test_an_exception_is_a_message_and_a_code(
    error: BaseException,
    code: int,
    message: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PODFENCE_DEBUG", raising=False)

    assert errors.guarded(lambda: _raise(error)) == code
    assert capfd.readouterr().err == message


def test_the_traceback_is_shown_on_request(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODFENCE_DEBUG", "1")
    errors.guarded(lambda: _raise(ZeroDivisionError()))

    shown = capfd.readouterr().err
    assert shown.startswith("Traceback (most recent call last):\n")
    assert shown.splitlines()[-1].startswith("podfence: internal error: ZeroDivisionError; ")


@pytest.mark.parametrize(("value", "code"), [(0, 0), (3, 3), (None, 0)])
def test_what_a_command_returns_is_the_exit_code(value: int | None, code: int) -> None:
    assert errors.guarded(lambda: value) == code
