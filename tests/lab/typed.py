# SPDX-License-Identifier: Apache-2.0
"""The commands of kubectl that tests type into labs, as the table of docs/reference/kubectl.md that they make."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.kubernetes.sessions.page import read
from tests.lab.apiserver.test_more_commands import LINES, REFUSED, WAITING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE: Final = Path(__file__).parent
PAGE: Final = HERE.parents[1] / "docs" / "reference" / "kubectl.md"
RECIPES: Final = HERE.parents[1] / "docs" / "tutorial" / "recipes"

_CALLS: Final = (HERE / "test_kubectl.py", HERE / "apiserver" / "test_streams.py")
_GROUPS: Final = ("auth", "config", "create", "rollout", "set")
_SHORT: Final = {
    "--all-namespaces": "-A", "--container": "-c", "--filename": "-f", "--namespace": "-n", "--output": "-o",
    "--quiet": "-q", "--selector": "-l", "--stdin": "-i", "--tty": "-t", "--watch": "-w",
}  # fmt: skip
_VALUED: Final = ("-c", "-f", "-l", "-L", "-n", "-o", "-p")
_TOLD: Final = ("-o", "--type", "--for", "--dry-run", "--cascade", "--validate", "--restart")
"""Flags whose values are told, too."""


def rows() -> list[tuple[str, str, str, str]]:
    """Return the rows of the table: a command, how often it was recorded, its flags that work, and those refused."""
    recorded = list(_recorded())
    refused = _grouped([*map(shlex.split, REFUSED)])
    whole = {command for command, flags in refused.items() if not flags - {"-n"}}
    typed = [*recorded, *map(shlex.split, LINES), *map(shlex.split, WAITING), *_calls(), *_recipes()]
    works = {command: flags for command, flags in _grouped(typed).items() if command not in whole}
    counts = {command: len(found) for command, found in _grouped(recorded, once=False).items()}
    return [
        (
            f"`{command}`",
            str(counts.get(command, "")),
            _flags(works[command]) if command in works else "none",
            _refusal(refused[command], works.get(command, set())) if command in refused else "",
        )
        for command in sorted(works.keys() | refused.keys())
    ]


def _refusal(flags: set[str], working: set[str]) -> str:
    """Return which flags are refused, "all" if the command itself is."""
    return _flags(flags - working - {"-f", "-n"}) if working else "all"


def _flags(flags: set[str]) -> str:
    return ", ".join(f"`{flag}`" for flag in sorted(flags, key=lambda flag: (flag.lstrip("-").lower(), flag)))


def _recorded() -> Iterator[list[str]]:
    for line in (HERE / "apiserver" / "commands.jsonl").read_text(encoding="utf-8").splitlines():
        yield json.loads(line)["args"]


def _calls() -> Iterator[list[str]]:
    """Yield the words of all calls of `kubectl` in tests of labs; what is computed there is left out."""
    for file in _CALLS:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "kubectl"):
                continue
            if not any(isinstance(word, ast.Starred) for word in node.args):
                words = [str(word.value) if isinstance(word, ast.Constant) else "NAME" for word in node.args]
                # The first word is a lab, or else all of them are about one namespace.
                yield words[1:] if file == _CALLS[0] else ["-n", "NAME", *words]


def _recipes() -> Iterator[list[str]]:
    for page in sorted(RECIPES.glob("*.md")):
        for step in (step for block in read(page) for step in block.steps):
            # Some show what no longer works.
            if "".join(step.output[:1]).lower().startswith("error"):
                continue
            for line in re.findall(r"(?m)(?:^|\| )kubectl (.*)$", step.command.replace("\\\n", " ")):
                yield shlex.split(line)


def _grouped(lines: Sequence[Sequence[str]], *, once: bool = True) -> dict[str, set[str]]:
    """Return the flags of each command; unless `once`, a number for each line instead."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for number, words in enumerate(lines):
        command, flags = parsed(words)
        if command:
            found[command] |= flags if once else {str(number)}
    return found


def parsed(words: Sequence[str]) -> tuple[str, set[str]]:
    """Return the command of a line and its flags, in their short form; "" if it has no command."""
    names: list[str] = []
    flags: set[str] = set()
    rest = iter(words)
    for word in rest:
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            names.append(word)
            continue
        flag, _, value = word.partition("=")
        flag = _SHORT.get(flag, flag)
        if flag in ("-it", "-ti"):
            flags |= {"-i", "-t"}
            continue
        if len(flag) > 2 and not flag.startswith("--"):
            flag, value = flag[:2], flag[2:]
        elif flag in _VALUED and not value:
            value = next(rest, "")
        flags.add(f"{flag} {re.split('[={]', value)[0]}" if flag in _TOLD and value else flag)
    if not names:
        return "", set()
    group = names[0] in _GROUPS and len(names) > 1 and not flags & {"-f"}
    return " ".join(names[:2]) if group or names[1:2] == ["view-last-applied"] else names[0], flags
