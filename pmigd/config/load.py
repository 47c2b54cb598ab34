"""Read the configuration file and report everything that is wrong with it.

A config is either wholly good or not used at all: there is no partial load, and no default
replaces a bad value.  The file is only read.  Findings are for people: they name the file, the
key, the value and what would be accepted.
"""

import contextlib
import copy
import itertools
import os
import re
import socket
import stat
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from pmigd.config.peers import PeerSection
from pmigd.config.rules import violations
from pmigd.config.schema import LATER_KEYS, Config
from pmigd.core.ownership import ownership_fault
from pmigd.core.printable import printable
from pmigd.schema.validate import (
    FieldError,
    accepted_by,
    field_path,
    show,
    validate,
)

DEFAULT_PATH: Final = Path("/etc/pmigd/pmigd.toml")
"""Read when no path is given; it need not exist."""

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
"""Ten thousand peers take about one MiB."""

MAX_DEPTH: Final = 16
"""Nothing that means anything stands deeper than half of that."""

_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)\Z")
_PASSWORD = re.compile(r"(?<=[^:/\s]):[^/@\s]*@")
_KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that keeps a config from being used.

    ``key`` is the dotted path, "" where the file as a whole is meant; ``value`` is the value as
    the file would write it, shortened, "" where there is none; ``accepted`` says what would be
    right, "" where the message says it all; ``line`` is known for syntax errors only.
    """

    file: str
    key: str
    value: str
    accepted: str
    message: str
    line: int | None = None


class ConfigRefused(Exception):  # noqa: N818 - it says what happened, as UriRefused does
    """The config is not usable; ``findings`` holds every reason, at least one."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(format_finding(finding) for finding in findings))
        self.findings: Final = tuple(findings)


def load(path: Path | None = None, *, host_name: str | None = None) -> Config:
    """Return the config; raise :class:`ConfigRefused` with every finding if there is any.

    The parameters are those of :func:`check`.  Blocks on the file.
    """
    config, findings = check(path, host_name=host_name)
    if config is None:
        raise ConfigRefused(findings)
    return config


def check(
    path: Path | None = None, *, host_name: str | None = None
) -> tuple[Config | None, list[Finding]]:
    """Return the config and no findings, or None and every finding.

    ``path`` None means :data:`DEFAULT_PATH`, which may be missing (all defaults); a path that is
    given must exist, also when it is that one.  ``host_name`` stands in for an empty
    ``daemon.name``; None asks the operating system.  Raises nothing; blocks on the file.
    """
    where = DEFAULT_PATH if path is None else path
    try:
        untrusted = _read(where)
    except FileNotFoundError:
        if path is not None:
            return None, [_about_file(where, "there is no such file")]
        untrusted = b""
    except OSError as error:
        return None, [_about_file(where, f"cannot be read: {error.strerror}")]
    except ValueError as error:
        return None, [_about_file(where, str(error))]
    return check_text(untrusted, str(where), host_name=host_name)


def check_text(
    untrusted: bytes, file: str, *, host_name: str | None = None
) -> tuple[Config | None, list[Finding]]:
    """As :func:`check`, for a file's contents; ``file`` is its name in the findings."""
    document = _parse(untrusted, file)
    if isinstance(document, Finding):
        return None, [document]
    config, errors = validate(Config, document)
    findings = [_finding(file, document, error) for error in errors]
    # A bad value must not hide what is wrong with the good ones: the rules run on what is left.
    removed: dict[_KeyPath, set[int]] = {}
    sound = config if config is not None else _without(document, errors, removed)
    if sound is not None:
        named = _with_name(sound, host_name)
        for broken in violations(named):
            accepted = broken.accepted or _accepted_at(broken.path)
            key = field_path(_original(broken.path, removed))
            value = _quoted(broken.value)
            findings.append(Finding(file, key, value, accepted, broken.message))
        if config is not None and not findings:
            return named, []
    return None, findings


def format_finding(finding: Finding) -> str:
    """One line for ``pmigd --check``: ``FILE:LINE: KEY = VALUE: MESSAGE; accepted: …``."""
    where = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
    what = finding.key
    if finding.value:
        what += f" = {finding.value}"
    accepted = f"; accepted: {finding.accepted}" if finding.accepted else ""
    return ": ".join(part for part in (where, what, finding.message) if part) + accepted


def _read(path: Path) -> bytes:
    # Not blocking: a FIFO in the file's place must not hang the daemon's start.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        # It says who is an administrator and where libvirtd connects to as root.
        if fault := ownership_fault(status.st_mode, status.st_uid, os.geteuid()):
            raise ValueError(fault)
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"is larger than {MAX_FILE_BYTES} bytes")
    return content


def _parse(untrusted: bytes, file: str) -> dict[str, Any] | Finding:
    try:
        document = tomllib.loads(untrusted.decode())
    except UnicodeDecodeError as error:
        line = untrusted[: error.start].count(b"\n") + 1
        return Finding(file, "", "", "", "is not UTF-8 text", line)
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        place = _LINE.search(text)
        line = int(place[1]) if place and place[1] else untrusted.rstrip().count(b"\n") + 1
        reason = printable(_LINE.sub("", text))
        return Finding(file, "", "", "", f"is not valid TOML: {reason}", line)
    except RecursionError:
        return _about_file(Path(file), "is nested too deeply")
    except ValueError:  # of Python's own: of so many digits it makes no number
        return _about_file(Path(file), "has a number of thousands of digits")
    return document if _is_shallow(document) else _about_file(Path(file), "is nested too deeply")


def _is_shallow(document: dict[str, Any]) -> bool:
    """Whether nothing stands deeper than :data:`MAX_DEPTH`; a table's name alone can be deep."""
    waiting: list[tuple[object, int]] = [(document, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return False
        if isinstance(value, dict):
            waiting.extend((inner, depth + 1) for inner in value.values())
        elif isinstance(value, list):
            waiting.extend((inner, depth + 1) for inner in value)
    return True


def _about_file(path: Path, message: str) -> Finding:
    return Finding(str(path), "", "", "", message)


def _finding(file: str, document: dict[str, Any], error: FieldError) -> Finding:
    value = _value_at(document, error.path)
    if error.kind == "unknown":
        if _is_later(error.path):
            message = "is not supported by this release"
            return Finding(file, error.field, _quoted(value), "", message)
        message = error.message.replace("is not known", "is not a known key")
        accepted = f"one of {error.accepted}"
        return Finding(file, error.field, _quoted(value), accepted, message)
    if error.kind == "missing":
        return Finding(file, error.field, "", error.accepted, "is required")
    message = f"is {_kind(value)}" if error.kind == "type" else "is not accepted"
    accepted = _accepted_at(error.path) or error.accepted
    if not accepted:
        message = error.message
    return Finding(file, error.field, _quoted(value), accepted, message)


def _quoted(value: object) -> str:
    """The value for a finding, which may end in a log: a password in a URI is left out."""
    return _PASSWORD.sub(":…@", show(value))


def _kind(value: object) -> str:
    for kind, name in (
        (bool, "a boolean"),
        (str, "text"),
        (int, "a whole number"),
        (float, "a number with a fraction"),
        (list, "a list"),
        (dict, "a table"),
    ):
        if isinstance(value, kind):
            return name
    return "a date or time"


def _is_later(path: _KeyPath) -> bool:
    return any(
        len(path) == len(later)
        and all(wanted in {"*", step} for wanted, step in zip(later, path, strict=True))
        for later in LATER_KEYS
    )


def _value_at(document: dict[str, Any], path: _KeyPath) -> object:
    value: Any = document
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return ""
    return value


def _accepted_at(path: _KeyPath) -> str:
    """What the schema says about the field at or above this place."""
    annotation: Any = Config
    accepted = ""
    for step in path:
        described = msgspec.inspect.type_info(annotation)
        if isinstance(described, msgspec.inspect.Metadata):
            described = described.type
        if isinstance(described, msgspec.inspect.StructType):
            found = [f for f in msgspec.structs.fields(described.cls) if f.encode_name == step]
            if not found:
                return ""
            annotation = found[0].type
        elif isinstance(described, msgspec.inspect.DictType):
            annotation = PeerSection
        else:
            return accepted
        accepted = accepted_by(annotation)
    return accepted


def _without(
    document: dict[str, Any], errors: list[FieldError], removed: dict[_KeyPath, set[int]]
) -> Config | None:
    """The config that the sound part of the document makes; None if none can be made of it.

    Puts into ``removed`` which items of which lists were left out, by their first index.
    """
    sound = copy.deepcopy(document)
    for _ in range(10):  # one round tells at most MAX_ERRORS faults
        for error in sorted(errors, key=lambda error: _removal_order(error.path), reverse=True):
            place = error.path[:-1] if error.kind == "missing" else error.path
            holder = _value_at(sound, place[:-1])
            if place and isinstance(holder, dict | list):
                last = _original(place, removed)[-1]
                with contextlib.suppress(KeyError, IndexError):
                    del holder[place[-1]]  # type: ignore[arg-type]
                if isinstance(last, int):
                    removed.setdefault(place[:-1], set()).add(last)
        config, errors = validate(Config, sound)
        if config is not None:
            return config
    return None


def _original(path: _KeyPath, removed: dict[_KeyPath, set[int]]) -> _KeyPath:
    """The path of a list's item as the file counts it, removed items included."""
    if not path or not isinstance(path[-1], int):
        return path
    gone = removed.get(path[:-1], set())
    kept = (index for index in itertools.count() if index not in gone)
    return (*path[:-1], next(itertools.islice(kept, path[-1], None)))


def _removal_order(path: _KeyPath) -> list[tuple[int, str]]:
    """Later list items sort after earlier ones, so that removing them moves nothing to come."""
    return [(step, "") if isinstance(step, int) else (-1, step) for step in path]


def _with_name(config: Config, host_name: str | None) -> Config:
    if config.daemon.name:
        return config
    name = host_name if host_name is not None else socket.gethostname()
    daemon = msgspec.structs.replace(config.daemon, name=name)
    return msgspec.structs.replace(config, daemon=daemon)
