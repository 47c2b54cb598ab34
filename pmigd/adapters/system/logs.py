"""How pmigd writes its log: as fields to journald, for people on a terminal, else JSON lines.

pmigd's own loggers are structlog's; what aiohttp and asyncio say through ``logging`` comes out the
same way. No line may fail or hold up the work it reports on: what the stream does not take at once,
because nobody reads it or it is gone, is dropped. Local variables never appear in tracebacks: they
may hold what nobody should read.

Loggers are not cached, so that a second :func:`configure` reaches those that modules hold.
"""

from __future__ import annotations

import contextlib
import json
import logging
import select
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.processors import (
    ExceptionRenderer,
    JSONRenderer,
    TimeStamper,
    add_log_level,
    format_exc_info,
)
from structlog.stdlib import ProcessorFormatter
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from pmigd.adapters.system.journald import Journald
from pmigd.core.messages import filled, journal_field, message_of
from pmigd.core.redact import redacted

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
}
_PRIORITIES: Final = {"debug": "7", "info": "6", "warning": "4", "error": "3", "critical": "2"}
_PIECE: Final = 1000
"""Characters: so few that a pipe which takes anything takes them all (PIPE_BUF bytes)."""


def configure(
    level: str,
    *,
    stream: TextIO,
    is_tty: bool,
    count: Callable[[str], None],
    unsent: Callable[[], None],
    journald: Journald | None = None,
) -> None:
    """Send everything that is logged in this process to `stream`, or to `journald` if given.

    `level` is the least important one that is written: debug, info, warning, error or critical.
    `is_tty` chooses the form for people. `count` is told the level of every line written, `unsent`
    of each that `stream` did not take whole. What `journald` does not take, which counts that
    itself, goes to `stream`.
    """
    set_level(level)
    lines = _Lines(stream, unsent if journald is None else lambda: None)
    # What both kinds of loggers pass; the threshold of stdlib loggers is logging's own.
    both: list[Processor] = [
        add_log_level,
        _Named(count),
        recent,
    ]
    render: list[Processor]
    if journald is not None:
        render = [format_exc_info, _ToJournald(journald)]
    else:
        render = [_stamp, *(_for_people() if is_tty else _for_machines())]
    structlog.configure(
        processors=[_threshold, *both, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        context_class=dict,
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=False,
    )
    handler = _Handler(lines)
    handler.setFormatter(
        ProcessorFormatter(
            foreign_pre_chain=[_logger_name, *both],
            processors=[ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)


def set_level(level: str) -> None:
    """Change the least important level that is written, at any time. Raises ValueError."""
    if level not in _LEVELS:
        raise ValueError(f"no such log level: {level!r}")
    _threshold.least = _LEVELS[level]
    logging.getLogger().setLevel(_LEVELS[level])


_stamp: Final = TimeStamper(fmt="iso", utc=True, key="timestamp")


class _Threshold:
    """Drops what is below the level. Bound loggers live long, so it is asked for each line."""

    def __init__(self) -> None:
        self.least = logging.INFO

    def __call__(self, _: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if _LEVELS.get(_name_of(method), logging.INFO) < self.least:
            raise structlog.DropEvent
        return event


_threshold: Final = _Threshold()


class _Named:
    """Gives each line one of the five level names and counts it."""

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["level"] = level = _name_of(event["level"])
        self._count(level)
        return event


class RecentLines:
    """Keeps the last warnings and errors, for a support bundle: few, short, without secrets."""

    KEPT: Final = 100
    MOST: Final = 2000
    """Characters of one value; of a traceback its end, where the fault is."""

    def __init__(self) -> None:
        self._lines: deque[dict[str, str]] = deque(maxlen=self.KEPT)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Keep the event if it is grave, and hand it on."""
        if event["level"] in ("warning", "error", "critical"):
            line = {"at": datetime.now(UTC).isoformat(timespec="milliseconds")}
            line |= {
                key: redacted(_text(value)[: self.MOST])
                for key, value in event.items()
                if value is not None and not key.startswith("_") and key != "exc_info"
            }
            if error := _raised(event.get("exc_info")):
                said = "".join(traceback.format_exception(error))
                line["exception"] = redacted(said[-self.MOST :])
            self._lines.append(line)
        return event

    def lines(self) -> list[dict[str, str]]:
        """What was kept, oldest first."""
        return list(self._lines)

    def forget(self) -> None:
        """Keep nothing of what was."""
        self._lines.clear()


recent: Final = RecentLines()
"""Of this process, as the log is."""


def _raised(exc_info: object) -> BaseException | None:
    """The exception that a line is about, in any of the forms that loggers take."""
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1]
    if isinstance(exc_info, BaseException):
        return exc_info
    return sys.exc_info()[1] if exc_info else None


def _name_of(name: str) -> str:
    """structlog's methods and logging's own levels ("level 25") in our five names."""
    match name:
        case "exception":
            return "error"
        case "warn":
            return "warning"
        case "fatal":
            return "critical"
        case _:
            return name if name in _LEVELS else "info"


def _logger_name(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event["logger"] = event["_record"].name
    return event


def _for_people() -> list[Processor]:
    # repr() of values keeps control characters of foreign origin out of the terminal.
    return [ConsoleRenderer(colors=True, repr_native_str=True, exception_formatter=plain_traceback)]


def _for_machines() -> list[Processor]:
    tracebacks = ExceptionDictTransformer(show_locals=False)
    return [ExceptionRenderer(tracebacks), _in_order, JSONRenderer(default=_plain)]


class _ToJournald:
    """The end of each event that journald takes; the others become lines for the stream.

    An event becomes a sentence that has everything in it, for ``journalctl``, and one field for
    each of its values, to look for.
    """

    def __init__(self, journald: Journald) -> None:
        self._journald = journald

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        message = message_of(event)
        priority = _PRIORITIES[event.pop("level")]
        traceback = event.pop("exception", None)
        said = event.pop("event")
        values = {key: _text(value) for key, value in event.items() if value is not None}
        words = {key: _word(value) for key, value in values.items()}
        start = filled(message.sentence, lambda key: words.get(key, "?")) if message else said
        line = " ".join([_text(start), *(f"{key}={word}" for key, word in words.items())])
        fields = [
            ("MESSAGE", f"{line}\n{traceback}" if traceback else line),
            ("PRIORITY", priority),
            ("SYSLOG_IDENTIFIER", "pmigd"),
            *([("MESSAGE_ID", message.id)] if message else []),
            *((journal_field(key), value) for key, value in values.items()),
        ]
        if self._journald.send(fields):
            raise structlog.DropEvent
        return f"<{priority}>{line}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=_plain)


def _word(value: str) -> str:
    """`value` so that its end is seen, and without what journalctl would hide the line for."""
    return value if value.isprintable() and " " not in value and value else repr(value)


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _plain(value: object) -> Any:
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)


class _Lines:
    """Writes lines to a stream, never waits for its reader, and survives the stream's end."""

    def __init__(self, stream: TextIO, unsent: Callable[[], None]) -> None:
        self._stream = stream
        self._unsent = unsent
        self._lock = threading.Lock()
        self._cut = False
        self._poll: select.poll | None = select.poll()
        try:
            self._poll.register(stream, select.POLLOUT)
        except (OSError, ValueError):
            self._poll = None  # there is no descriptor: it is memory

    def write(self, line: str) -> None:
        text = ("\n" if self._cut else "") + line + "\n"
        # OSError: nobody reads any more. ValueError: the stream was closed.
        with self._lock, contextlib.suppress(OSError, ValueError):
            for begin in range(0, len(text), _PIECE):
                if not self._takes_more():
                    self._cut = self._cut or begin > 0
                    self._unsent()
                    return
                self._stream.write(text[begin : begin + _PIECE])
                self._stream.flush()
            self._cut = False

    def _takes_more(self) -> bool:
        return self._poll is None or any(found & select.POLLOUT for _, found in self._poll.poll(0))

    msg = debug = info = warning = error = critical = write


class _Handler(logging.Handler):
    """Hands what ``logging`` is told to the same lines."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.write(self.format(record))
        except structlog.DropEvent:
            pass  # journald has it
        except Exception:  # noqa: BLE001 - a line that cannot be formatted must not fail its author
            self.handleError(record)
