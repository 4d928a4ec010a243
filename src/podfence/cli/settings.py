# SPDX-License-Identifier: Apache-2.0
"""``podfence.toml``: what a repository says of its own manifests, so that a command needs no flags in it.

The file comes with the repository, and so with anybody's pull request. It names nothing outside of its folder, what it
says is told wherever it weakens an answer, and ``--no-config`` and ``PODFENCE_CONFIG`` decide about it from outside.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from podfence.cli.commands import added
from podfence.errors import OptionError, PodfenceError, nearest, reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

VARIABLE: Final = "PODFENCE_CONFIG"
"""The environment variable that names the file; set to nothing, there is none."""

_NAME: Final = "podfence.toml"
_PROJECT: Final = "pyproject.toml"
_TABLE: Final = b"tool.podfence"
SIZE_LIMIT: Final = 1024 * 1024
"""The largest configuration file that is read, in bytes."""

chosen: Final = added(
    click.option(
        "--config",
        metavar="PATH",
        type=click.Path(),
        help="Configuration file to use instead of the nearest podfence.toml.",
    ),
    click.option("--no-config", is_flag=True, help="Do not read a configuration file."),
)
"""Adds the options that choose the configuration file to a command."""

# What weakens an answer: it leaves something out, or lets something pass.
_WEAKENING: Final = {
    "validation=lax": "lets pass what an API server refuses",
    "world=closed": "takes what is not in the input not to exist",
}


class ConfigError(PodfenceError):
    """A configuration file that cannot be read, or says something that it cannot say."""


class Settings(NamedTuple):
    """What a configuration file says; `file` is "" and everything empty where there is none.

    `filename` are paths from the working directory, `folder` is that of the file.
    """

    file: str = ""
    folder: str = ""
    filename: tuple[str, ...] = ()
    recursive: bool = False
    exclude: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    namespace: str = ""

    def notes(self, *, files: bool) -> Iterator[str]:
        """Yield what to say about an answer that rests on it; `files` tells whether its files were read."""
        if files:
            yield f"{self.file}: reads {', '.join(self.filename)}{' and subfolders' if self.recursive else ''}"
        if self.exclude:
            yield f"{self.file}: leaves out {', '.join(self.exclude)}"
        for setting in self.options:
            for weak, what in _WEAKENING.items():
                if setting.startswith(weak):
                    yield f"{self.file}: sets {setting}, which {what}"


def find(asked: str | None, environ: Mapping[str, str], *, wanted: bool = True, start: str = ".") -> Settings:
    """Return the settings of a command: those of the file `asked` for, of the environment's, or of the nearest one.

    The nearest one is in the folder `start` or above it. Nothing is looked for if not `wanted`. Raises ConfigError.
    """
    if not wanted:
        if asked is not None:
            raise click.UsageError("--config and --no-config exclude each other")
        return Settings()
    named = environ.get(VARIABLE) if asked is None else asked
    if named is not None:
        return read(named) if named else Settings()
    for folder in upwards(os.path.abspath(start)):
        for name in (_NAME, _PROJECT):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and (name == _NAME or _TABLE in contents(path)):
                return read(os.path.relpath(path))
        if is_repository(folder):
            break
    return Settings()


def upwards(folder: str) -> Iterator[str]:
    """Yield a folder, the one that it is in, and so on; a relative path ends with "", an absolute one with its root."""
    below = None
    while folder != below:
        yield folder
        folder, below = os.path.dirname(folder), folder


def is_repository(folder: str) -> bool:
    """Return whether a folder is the root of a repository."""
    return os.path.exists(os.path.join(folder, ".git"))


def find_in(look: Callable[[str], bytes | None], shown: str, start: str, *, asked: str | None = None) -> Settings:
    """Return the settings of a commit: those of the file `asked` for, or of the one nearest to the folder `start`.

    `look` returns the contents of a file by its path from the root of the commit, and messages name it after `shown`.
    `filename` and `folder` are paths from `start`. Raises ConfigError.
    """
    nearest = [os.path.join(folder, name) for folder in upwards(start.rstrip("/")) for name in (_NAME, _PROJECT)]
    for path in [asked] if asked else nearest:
        data = look(path)
        if data is not None and (asked or os.path.basename(path) == _NAME or _TABLE in data):
            folder = os.path.relpath(f"/{os.path.dirname(path)}", f"/{start}")
            return _Reading(shown + path, folder, tables(shown + path, data), is_here=False).settings()
    return Settings()


def read(path: str) -> Settings:
    """Return what a file says. Raises ConfigError with the place and what to do."""
    return _Reading(path, os.path.dirname(path), tables(path, contents(path)), is_here=True).settings()


def tables(path: str, data: bytes) -> dict[str, Any]:
    """Return what the contents of a file say in TOML. Raises ConfigError."""
    import tomllib

    try:
        return tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: the text is not UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {str(error)[:1].lower()}{str(error)[1:]}") from None


def contents(path: str) -> bytes:
    """Return the contents of a configuration file. Raises ConfigError."""
    try:
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
            raise ConfigError(f"{path}: is not a file")
        with open(path, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {reason_of(error)}") from None
    if len(data) > SIZE_LIMIT:
        raise ConfigError(f"{path}: is larger than 1 MB, the limit for a configuration file")
    return data


def check_keys(place: str, content: Mapping[str, object], known: Collection[str]) -> None:
    """Raise ConfigError if a table has a key that is not known."""
    for key in content:
        if key not in known:
            near = nearest(key, known, cutoff=0.5)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            raise ConfigError(f"{place}: unknown key {key!r}; {hint}")


def texts(place: str, key: str, value: object, *, some: bool = False) -> tuple[str, ...]:
    """Return one text or several. Raises ConfigError for anything else, and for no text if there must be `some`."""
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or (some and not items) or not all(isinstance(item, str) and item for item in items):
        raise ConfigError(f"{place}: {key}: expected a text or a list of texts, found {value!r}")
    return tuple(items)


class _Reading:
    """One file, taken key by key."""

    def __init__(self, path: str, folder: str, content: dict[str, Any], *, is_here: bool) -> None:
        self._path = path
        self._folder = folder
        self._is_here = is_here
        if os.path.basename(path) == _PROJECT:
            content = content.get("tool", {}).get("podfence", {})
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: tool.podfence: expected a table")
        self._content = content

    def settings(self) -> Settings:
        """Return what the file says, checked."""
        known: dict[str, Callable[[str], Any]] = {
            "filename": self._files,
            "recursive": partial(self._plain, bool, "true or false"),
            "exclude": self._texts,
            "options": self._options,
            "namespace": partial(self._plain, str, "a text"),
        }
        check_keys(self._path, self._content, known)
        return Settings(file=self._path, folder=self._folder or ".", **{key: known[key](key) for key in self._content})

    def _wrong(self, key: str, expected: str) -> ConfigError:
        return ConfigError(f"{self._path}: {key}: expected {expected}, found {self._content[key]!r}")

    def _plain(self, kind: type, expected: str, key: str) -> bool | str:
        value: bool | str = self._content[key]
        if not isinstance(value, kind) or value == "":
            raise self._wrong(key, expected)
        return value

    def _texts(self, key: str) -> tuple[str, ...]:
        return texts(self._path, key, self._content[key])

    def _files(self, key: str) -> tuple[str, ...]:
        """Return paths from the working directory; they must lie in the folder of the file."""
        top = os.path.realpath(self._folder or ".")
        found = []
        for text in self._texts(key):
            path = os.path.normpath(os.path.join(self._folder, text))
            leads_out = os.path.isabs(text) or os.path.normpath(text).split("/", 1)[0] == ".."
            # Links of a commit are looked at where it is read.
            if leads_out or (self._is_here and os.path.commonpath((os.path.realpath(path), top)) != top):
                raise ConfigError(f"{self._path}: {key}: {text} is not in the folder of this file; give it with -f")
            found.append(path)
        return tuple(found)

    def _options(self, key: str) -> tuple[str, ...]:
        from podfence.policy.options import Options

        value = self._content[key]
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise self._wrong(key, 'a table of texts, such as options.validation = "strict"')
        settings = tuple(f"{name}={text}" for name, text in value.items())
        try:
            Options.parse(settings)
        except OptionError as error:
            raise ConfigError(f"{self._path}: {key}: {error}") from None
        return settings
