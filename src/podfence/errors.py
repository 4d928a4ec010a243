# SPDX-License-Identifier: Apache-2.0
"""The exceptions podfence raises on purpose, and words for their messages.

    PodfenceError
    ├── InputError        input that could not be read; carries every problem found
    ├── EndpointError     a question names an endpoint or a port that does not exist or cannot be read
    ├── OptionError       an engine option or its value is unknown
    ├── MissingProgramError   an external program (kubectl, kustomize, helm) is needed and absent
    ├── GitError          a revision cannot be read (`podfence.kube.git`)
    ├── AccessError       what says how a cluster is reached is missing or wrong
    ├── ApiError          an API server could not be reached, or refused (`podfence.kube.live.errors`)
    └── NftError          nft refused a transaction (`podfence.nft.errors`)

Every one ends a command with exit code 2 and its text on standard error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from podfence.kube.findings import Finding


def reason_of(error: OSError) -> str:
    """Return the system's word for an error, as a part of a sentence."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return the known word that is most like a misspelt one, "" if none is at least so much like it (0 to 1)."""
    import difflib  # noqa: PLC0415  most words are right

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return ``1 pod`` or ``2 pods``; `plural` is the noun's plural where it is not the noun and an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


class PodfenceError(Exception):
    """The root of all errors raised on purpose; its text is a complete message for a person."""


class InputError(PodfenceError):
    """Some input was refused; `problems` holds all errors and warnings, in file order."""

    def __init__(self, problems: Sequence[Finding]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @property
    def found_nothing(self) -> bool:
        """Whether nothing is wrong but that the inputs hold no object."""
        wrong = [problem for problem in self.problems if problem.severity == "error"]
        return all(problem.code == "no-object" and not problem.position.line for problem in wrong)


class EndpointError(PodfenceError):
    """An endpoint or port of a question cannot be read, or names nothing that exists."""


class OptionError(PodfenceError):
    """An engine option or its value is unknown."""


class MissingProgramError(PodfenceError):
    """A program that a request needs is not on PATH."""


class AccessError(PodfenceError):
    """A cluster cannot be reached as asked for: no configuration, an unknown name, credentials that fail.

    What a line of a kubeconfig is to blame for is an InputError, with that line.
    """
