# SPDX-License-Identifier: Apache-2.0
"""Kustomizations and charts, rendered by the programs that people render them with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.errors import MissingProgramError, reason_of
from podfence.kube.findings import Code, Finding, Position, unreadable
from podfence.kube.folders import SIZE_LIMIT, shown, too_large

if TYPE_CHECKING:
    from collections.abc import Sequence

TIMEOUT: Final = 60
"""How long a program may take, in seconds."""

RELEASE: Final = "release-name"
"""The name of the release where nobody gives one: that of ``helm template``."""

# kubectl writes a time, a level and a line of its source in front of what it has to say, and quotes that, or puts
# several lines in brackets.
_LOG_HEADER: Final = r"(?m)^[IWEF]\d{4} \d{2}:\d{2}:\d{2}\.\d+ +\d+ \S+\] "
_LOGGED: Final = r'"command failed" err="(.*)"'
_LOGGED_LINES: Final = r'"command failed" err=<\n(.*?)\n? ?>'
_BESIDE: Final = ("Use --debug", "# Warning:")
"""How lines begin that say nothing about a failure."""

_KUBE_VERSION: Final = "chart requires kubeVersion"
# What helm writes in front of each piece of a template.
_SOURCE: Final = rb"(?m)^---\n# Source: (.+)\n"


class Chart(NamedTuple):
    """A chart to render: a folder or a packed chart, with the values of ``--values`` and ``--set``.

    `kube_version` and `api_versions` are what a template is told of the cluster, "" and () what helm was built with.
    """

    path: str
    release: str = RELEASE
    namespace: str = ""
    values: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    kube_version: str = ""
    api_versions: tuple[str, ...] = ()


def kustomize(folder: str, problems: list[Finding]) -> bytes | None:
    """Return what kustomize makes of a folder; None and a problem if it fails.

    Raises MissingProgramError if there is neither kustomize nor kubectl.
    """
    found = _which("kustomize") or _which("kubectl")
    if not found:
        raise MissingProgramError("-k needs kustomize or kubectl on PATH, and neither is there")
    if not _is_path(folder, problems):
        return None
    task = "build" if _name(found) == "kustomize" else "kustomize"
    return _run([found, task, "--", folder], f"{_name(found)} {task}", f"{shown(folder)} (kustomize)", problems)


def helm(chart: Chart, problems: list[Finding]) -> dict[str, bytes]:
    """Return what helm makes of each template of a chart, by the template's path; nothing and a problem if it fails.

    Raises MissingProgramError without helm.
    """
    found = _which("helm")
    name = f"{shown(chart.path)} (helm)"
    if not found:
        raise MissingProgramError("--helm needs helm on PATH, and it is not there")
    if not _is_path(chart.path, problems):
        return {}
    if not os.path.exists(chart.path):  # noqa: PTH110  helm would look for it in the network
        remedy = "charts are not fetched: give a folder or a package, such as helm pull writes"
        problems.append(unreadable(shown(chart.path), "no such chart", remedy))
        return {}
    command = [found, "template"]
    command += ["--namespace", chart.namespace] if chart.namespace else []
    command += [word for path in chart.values for word in ("--values", path)]
    command += [word for setting in chart.settings for word in ("--set", setting)]
    command += ["--kube-version", chart.kube_version] if chart.kube_version else []
    command += [word for version in chart.api_versions for word in ("--api-versions", version)]
    rendered = _run([*command, "--", chart.release, chart.path], "helm template", name, problems)
    return _by_template(rendered, chart.path, name) if rendered is not None else {}


def _by_template(rendered: bytes, chart: str, name: str) -> dict[str, bytes]:
    """Take what helm has rendered apart by the comments that say from which template it comes."""
    import re  # noqa: PLC0415  used here only

    start, *parts = re.split(_SOURCE, rendered)
    found: dict[str, bytes] = {name: start} if start.strip() else {}
    for source, text in zip(parts[::2], parts[1::2], strict=True):
        # The first part of the path is the name of the chart, whatever its folder is called.
        template = os.path.join(chart, source.decode("utf-8", "replace").partition("/")[2])  # noqa: PTH118 - a text is quicker than a Path, and this is done for every file
        where = f"{shown(template)} (rendered)"
        found[where] = found.get(where, b"") + b"---\n" + text
    return found


def _is_path(path: str, problems: list[Finding]) -> bool:
    """Return whether a text may be the name of something, and add a problem if not."""
    if path and "\0" not in path:
        return True
    problems.append(unreadable(path.replace("\0", "\\0") or '""', "this is no path"))
    return False


def _which(program: str) -> str | None:
    import shutil  # noqa: PLC0415  slow to import, seldom needed

    return shutil.which(program)


def _name(path: str) -> str:
    return os.path.basename(path)  # noqa: PTH119 - a text is quicker than a Path, and this is done for every file


def _run(command: Sequence[str], called: str, name: str, problems: list[Finding]) -> bytes | None:
    import subprocess  # noqa: PLC0415  slow to import, seldom needed

    def fail(message: str, remedy: str = "") -> None:
        problems.append(Finding(code=Code.PROGRAM, position=Position(name), message=message, remedy=remedy))

    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        fail(f"{called} did not end within {TIMEOUT} seconds")
        return None
    except OSError as error:
        fail(f"{called} cannot be run: {reason_of(error)}")
        return None
    if done.returncode:
        said = _said(done.stderr.decode("utf-8", "replace"))
        remedy = "--kube-version VERSION says for which to render" if _KUBE_VERSION in said else ""
        fail(f"{called} failed: {said or f'exit code {done.returncode}'}", remedy)
        return None
    if len(done.stdout) > SIZE_LIMIT:
        fail(too_large(len(done.stdout)), "split it into several inputs")
        return None
    return done.stdout


def _said(text: str) -> str:
    """Return what a program says about its failure, without the header of its log."""
    import re  # noqa: PLC0415  used here only

    told = re.sub(_LOG_HEADER, "", text).splitlines()
    plain = "\n".join(line for line in told if line.strip() and not line.startswith(_BESIDE))
    if logged := re.fullmatch(_LOGGED, plain, re.DOTALL):
        plain = logged[1].replace('\\"', '"').replace("\\n", "\n")
    elif logged := re.fullmatch(_LOGGED_LINES, plain, re.DOTALL):
        plain = logged[1]
    plain = plain.removeprefix("error: ").removeprefix("Error: ")
    return "\n".join(line.strip("\t") for line in plain.splitlines())
