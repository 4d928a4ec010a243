# SPDX-License-Identifier: Apache-2.0
"""A running cluster at one moment, read as files are: objects, warnings, and counts of what was left out.

Each kind is one list, of one revision. The kinds are read at the same time, and so within moments of each
other, but not at the same revision.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from podfence.backoff import Backoff
from podfence.errors import InputError
from podfence.kube.access.credentials import Credentials
from podfence.kube.findings import Code, Finding, Position, Severity
from podfence.kube.live import listwatch
from podfence.kube.live.errors import ForbiddenError, NotFoundError, ThrottledError
from podfence.kube.live.items import Reader
from podfence.kube.live.origin import LIVE
from podfence.kube.live.others import count_policies
from podfence.kube.live.resources import not_permitted, versions
from podfence.kube.live.session import Session
from podfence.kube.load import Loaded
from podfence.kube.registry import KINDS, Need, needed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from podfence.kube.access.access import Access
    from podfence.kube.live.items import Item
    from podfence.kube.live.resources import Resource
    from podfence.kube.objects import KubeObject

_AT_ONCE: Final = 4
_ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0


def load_live(
    access: Access,
    environ: Mapping[str, str],
    *,
    timeout: float | None = None,
    legacy: str = "auto",
    progress: Callable[[float, int], None] | None = None,
) -> Loaded:
    """Return all objects of the cluster that `access` leads to, as `kube.load.load` returns those of files.

    `timeout` is how long each request may take, in seconds, None for as long as it takes. `legacy` is the option
    of that name, for clusters so old that they serve policies as extensions/v1beta1 only (semantics 10).
    `progress` is told how many kinds are read and how many there are.

    Raises InputError for namespaces, pods and policies that cannot be read, AccessError if there are no credentials,
    and ApiError for what the server refuses and for all that fails on the way. A KeyboardInterrupt ends it at once.
    """
    credentials = Credentials(access, environ)

    async def read() -> Loaded:
        asyncio.get_running_loop().set_default_executor(_Threads())
        async with Session(access, credentials, timeout=timeout) as session:
            return await _Snapshot(session, legacy, progress).read()

    return asyncio.run(read())


class _Threads(ThreadPoolExecutor):
    """Threads that nobody waits for: a plugin or a resolver that hangs does not keep the process from ending."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401  as above
        future: Future[Any] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  whoever waits for the result gets it
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=run, daemon=True).start()
        return future


class _Snapshot:
    def __init__(self, session: Session, legacy: str, progress: Callable[[float, int], None] | None) -> None:
        self._session = session
        self._legacy = legacy
        self._progress = progress
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._done = 0
        self._problems: list[Finding] = []
        self._listed: set[str] = set()

    async def read(self) -> Loaded:
        """Return everything; raises as `load_live` does."""
        # The first kind goes alone: what is wrong with the way to the server is then said once, and at once.
        first, *rest = needed(Need.LIVE)
        found = {first: await self._kind(first)}
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {kind: group.create_task(self._kind(kind)) for kind in rest}
                others = group.create_task(count_policies(self._session))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        found |= {kind: task.result() for kind, task in tasks.items()}
        ignored, unknown = others.result()
        self._problems += unknown
        problems = sorted(self._problems, key=lambda problem: problem.position)
        if any(problem.severity is Severity.ERROR for problem in problems):
            raise InputError(problems)
        objects = [item for kind in found for item in found[kind]]
        left_out = {found.object.kind for found in problems if found.code is Code.UNREADABLE and found.object}
        return Loaded(tuple(objects), tuple(problems), dict(ignored), listed=frozenset(self._listed - left_out))

    async def _kind(self, kind: str) -> list[KubeObject]:
        """Return all objects of a kind, of the first of its API versions that the server has."""
        async with self._at_once:
            objects: list[KubeObject] = []
            for resource in versions(kind):
                try:
                    objects = await self._list(resource)
                    self._listed.add(kind)
                    break
                except NotFoundError:
                    if KINDS[kind].needs & Need.ANSWER and resource.api_version == list(KINDS[kind].versions)[-1]:
                        raise
                except ForbiddenError:
                    if KINDS[kind].needs & Need.ANSWER:
                        raise
                    self._problems.append(not_permitted(resource, resource.plural, "knows nothing of them"))
                    break
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, len(needed(Need.LIVE)))
        return objects

    async def _list(self, resource: Resource) -> list[KubeObject]:
        reader = Reader(resource, LIVE, self._legacy)
        backoff = Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        for attempt in range(_ATTEMPTS):
            objects: list[KubeObject] = []
            problems: list[Finding] = []
            try:
                async with aclosing(listwatch.parts(self._session, resource, reader)) as parts:
                    async for part in parts:
                        if part.starts:
                            objects.clear()
                            problems.clear()
                        for item in part.items:
                            problems += _problems(item)
                            if item.object is not None:
                                objects.append(item.object)
            except ThrottledError as error:
                if attempt == _ATTEMPTS - 1:
                    raise
                await asyncio.sleep(max(error.retry_after, backoff.failed()))
                continue
            break
        self._problems += problems
        return objects


def _problems(item: Item) -> list[Finding]:
    """Return what is to be said of one object, an error if an answer without it would be wrong."""
    # What stands in front of a problem of a live object is its name.
    where = Position(str(item.key))
    if item.object is None:
        severity = Severity.ERROR if KINDS[item.key.kind].needs & Need.ANSWER else Severity.WARNING
        message = f"{'cannot be read' if severity is Severity.ERROR else 'left out'}: {item.reason}"
        return [Finding(code=Code.UNREADABLE, severity=severity, object=item.key, position=where, message=message)]
    return [replace(finding, position=where, object=item.key) for finding in item.warnings]
