# SPDX-License-Identifier: Apache-2.0
"""The log of an agent: one line for each thing that happened, for people or as JSON, on standard error.

Lines are written by a thread of their own. Whoever reads them may be slow or gone: then the newest are counted
instead of kept, and nobody else waits.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
from contextlib import suppress
from logging.handlers import QueueHandler
from typing import TYPE_CHECKING, Final, Literal, Self, TextIO

import structlog

from podfence.agent.denials import DeniedFlow, LeftOut
from podfence.agent.strays import LeftOutStrays, Stray

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from structlog.typing import EventDict, Processor, WrappedLogger

    from podfence.agent.kernel import Told
    from podfence.agent.node.findings import NodeFinding
    from podfence.agent.reports import Report
    from podfence.kube.live.reflector import Health

Form = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

MOST: Final = 10_000
"""How many lines wait for a slow reader."""

PATIENCE: Final = 2.0
"""Seconds that the end waits for a slow reader."""

_FIRST: Final = ("time", "level", "event")
_CONTROLS: Final = dict.fromkeys((*range(10), *range(11, 32), *range(127, 160)), "\ufffd")


class _Lines(QueueHandler):
    """Hands records over without waiting, and counts those for which there is no room."""

    def __init__(self, waiting: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(waiting)
        self.left_out = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record itself: its event is a mapping, which is written by the other thread."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Add a record, or leave it out."""
        if not isinstance(self.queue, queue.Queue):
            return
        try:
            if self.left_out:
                self.queue.put_nowait(_about(self.left_out))
                self.left_out = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self.left_out += 1


class Log:
    """Writes the log of one process; as a context manager it is closed at the end, with all lines written."""

    def __init__(self, form: Form = "text", level: Level = "info", stream: TextIO | None = None) -> None:
        """Take over structlog and the logging of libraries; lines go to `stream`, standard error unless given."""
        shared: list[Processor] = [
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        ]
        written: Processor = structlog.processors.JSONRenderer()
        if form == "text":
            written = structlog.processors.LogfmtRenderer(key_order=_FIRST, drop_missing=True, bool_as_flag=False)
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    *([_printable] if form == "text" else []),
                    written,
                ],
            )
        )
        waiting: queue.Queue[logging.LogRecord | None] = queue.Queue(MOST)
        root = logging.getLogger()
        self._before = root.handlers[:], root.level
        self._lines = _Lines(waiting)
        root.handlers[:] = [self._lines]
        root.setLevel(level.upper())
        self._waiting = waiting
        self._writer = threading.Thread(target=_write, args=(waiting, handler), name="log", daemon=True)
        self._writer.start()
        structlog.configure(
            processors=[
                structlog.stdlib.filter_by_level,
                *shared,
                structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )
        self.logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("podfence")
        self._health: dict[str, tuple[bool, bool, str]] = {}
        self._findings: dict[str, NodeFinding] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits, for `PATIENCE` at most, and give structlog and logging back."""
        with suppress(queue.Full):
            self._waiting.put(None, timeout=PATIENCE)
            self._writer.join(PATIENCE)
        root = logging.getLogger()
        root.handlers[:], level = self._before
        root.setLevel(level)
        structlog.reset_defaults()

    def report(self, report: Report) -> None:
        """Write what a report of the loop says; changes that became real are details."""
        log = self.logger
        for record in report.records:
            log.debug(
                "programmed",
                kind=record.kind,
                namespace=record.namespace,
                name=record.name,
                change=record.type.lower(),
                seconds=round(record.seconds, 6),
            )
        for text in report.errors:
            log.error(text)
        if report.drift:
            log.warning(
                "repaired changes that another program made in the kernel's table", differences=list(report.drift)
            )
        if report.cut:
            log.info("cut established flows that policies now deny", flows=report.cut)

    def denied(self, told: Iterable[Told]) -> None:
        """Write a line for each denied flow, and for each kind of stray packets."""
        for item in told:
            match item:
                case DeniedFlow():
                    fields = {**item._asdict(), "direction": str(item.direction), "policies": list(item.policies)}
                    self.logger.info("denied", **_known(fields))
                case Stray():
                    self.logger.info("stray", **_known(item._asdict()))
                case LeftOut() | LeftOutStrays():
                    self.logger.warning(str(item), packets=item.packets)

    def findings(self, found: Sequence[NodeFinding]) -> None:
        """Write the findings that are new, and those that are gone."""
        now = {item.code: item for item in found}
        for code, item in now.items():
            if self._findings.get(code) != item:
                write = self.logger.error if item.severity == "fatal" else self.logger.warning
                write(item.message, code=code, remedy=item.remedy)
        for code in self._findings.keys() - now.keys():
            self.logger.info("no longer found", code=code)
        self._findings = now

    def health(self, found: Sequence[Health]) -> None:
        """Write which watches are other than when this was called last."""
        for item in found:
            state = (item.listed, item.connected, item.error)
            before = self._health.get(item.kind)
            if before == state:
                continue
            self._health[item.kind] = state
            if item.connected and item.listed:
                if before is None or before[:2] != (True, True):
                    self.logger.info("watching", kind=item.kind)
            elif item.error:
                self.logger.warning("not watching", kind=item.kind, error=item.error)


def _known(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None and value != ""}


def _write(waiting: queue.Queue[logging.LogRecord | None], handler: logging.Handler) -> None:
    while (record := waiting.get()) is not None:
        handler.handle(record)


def _printable(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Let no text of others steer a terminal; line ends are escaped by the renderer."""
    return {name: _text(value) for name, value in event.items()}


def _text(value: object) -> object:
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    return value.translate(_CONTROLS) if isinstance(value, str) else value


def _about(left_out: int) -> logging.LogRecord:
    text = f"{left_out} lines were left out, because the reader of the log is too slow"
    return logging.LogRecord("podfence", logging.WARNING, "", 0, text, None, None)
