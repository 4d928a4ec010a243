# SPDX-License-Identifier: Apache-2.0
"""A shell on a terminal of its own, typed into as a person does: one command, its output, the next."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from tests.kubernetes.sessions.page import INTERRUPT, LEAVE, POD_PROMPT
from tests.kubernetes.sessions.settled import plain, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

READY: Final = "[[ready]] "
"""The prompt of the shell, which no program prints by chance."""

PATIENCE: Final = 180.0
"""Seconds for one command, the download of an image included."""

INSIDE: Final = 120.0
"""Seconds for one command in a pod; a resolver that nobody answers gives up late."""


class StuckError(Exception):
    """A command did not come back; the message has what it printed."""


class Terminal:
    """An interactive bash; leaving the context ends it and all it started."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._folder = folder
        self._environ = {**environ, "PS1": READY, "PS2": "", "TERM": "xterm", "HISTFILE": ""}
        self._seen = ""

    def __enter__(self) -> Self:
        """Start the shell."""
        self._screen, keyboard = pty.openpty()
        # Wide enough that nothing is broken into lines.
        fcntl.ioctl(keyboard, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 1000, 0, 0))
        attributes = termios.tcgetattr(keyboard)
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(keyboard, termios.TCSANOW, attributes)
        # setsid makes the terminal the shell's own, so that it can hand it to kubectl and take it back.
        self._shell = subprocess.Popen(
            ("setsid", "--ctty", "bash", "--noprofile", "--norc", "--noediting", "+H", "-i"),
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            cwd=self._folder,
            env=self._environ,
            start_new_session=False,
        )
        os.close(keyboard)
        self._until_end(READY, INSIDE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Hang up."""
        os.close(self._screen)
        self._shell.send_signal(signal.SIGHUP)
        try:
            self._shell.wait(10)
        except subprocess.TimeoutExpired:
            self._shell.kill()
            self._shell.wait()

    def run(self, command: str) -> str:
        """Type a command and return what it prints."""
        self._type(command + "\n")
        return self._until_end(READY, PATIENCE).removesuffix(READY)

    def open(self, command: str) -> None:
        """Type a command that opens a shell in a pod, and come back when there is one prompt and no more to read."""
        self._type(command + "\n")
        deadline = time.monotonic() + PATIENCE
        while not plain(self._seen).endswith(POD_PROMPT):
            try:
                self._until_end((POD_PROMPT, READY), 2, keep=True)
            except StuckError:
                if time.monotonic() > deadline:
                    raise
                # A prompt that was printed before kubectl was attached is not shown again without this.
                if "try pressing enter" in self._seen:
                    self._type("\n")
            if plain(self._seen).endswith(READY):
                raise StuckError(f"{command} opened no shell:\n{plain(self._seen)}")
        self._settle()

    def type_inside(self, command: str, shown: Sequence[str]) -> str:
        """Type a command into the pod's shell and return what it prints.

        Where the lines that are shown for it have a ^C, that key is pressed when those before it have appeared.
        """
        self._type(command + "\n")
        if INTERRUPT in shown:
            lines = len(settled(shown[: shown.index(INTERRUPT)]))
            self._until(
                lambda seen: seen.endswith(POD_PROMPT) or len(settled(_answer(seen).splitlines())) >= lines,
                INSIDE,
                keep=True,
            )
            if not self._returns():
                self._type("\x03")
        seen = self._until(lambda seen: seen.endswith((POD_PROMPT, READY)) and "\n" in seen, INSIDE)
        if seen.endswith(READY):
            raise StuckError(f"{command}: the pod's shell has ended:\n{seen}")
        if INTERRUPT in shown:
            self._settle()
        return _answer(seen.removesuffix(POD_PROMPT))

    def leave(self) -> None:
        """End the pod's shell, and with it the command that opened it."""
        self._type(LEAVE + "\n")
        self._until_end(READY, PATIENCE)

    def _returns(self) -> bool:
        """Return whether a command in a pod ends by itself; one that waits for input shows no prompt."""
        try:
            self._until_end(POD_PROMPT, 1, keep=True)
        except StuckError:
            return False
        return True

    def _settle(self) -> None:
        """Come to a prompt that is the last one, where there may be several: behind the answer to this there is one."""
        for attempt in range(10, 10 + int(INSIDE / 5)):
            # A shell that has just been interrupted may throw away what is typed.
            self._type(f"echo $((20 + 3)){attempt}\n")
            with suppress(StuckError):
                self._until_end(f"23{attempt}\n{POD_PROMPT}", 5)
                return
        raise StuckError(f"the pod's shell does not answer:\n{plain(self._seen)}")

    def _type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def _until_end(self, end: str | tuple[str, ...], seconds: float, *, keep: bool = False) -> str:
        return self._until(lambda seen: seen.endswith(end), seconds, keep=keep)

    def _until(self, complete: Callable[[str], bool], seconds: float, *, keep: bool = False) -> str:
        """Read until what was printed is complete; return it, and forget it unless it is to be kept."""
        deadline = time.monotonic() + seconds
        while not complete(plain(self._seen)):
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._screen], [], [], left)[0]:
                raise StuckError(f"after {seconds:.0f} s there is only:\n{plain(self._seen)}")
            self._seen += os.read(self._screen, 65536).decode(errors="replace")
        seen = plain(self._seen)
        if not keep:
            self._seen = ""
        return seen


def _answer(seen: str) -> str:
    """Return what follows the echo of the command."""
    return seen.partition("\n")[2]
