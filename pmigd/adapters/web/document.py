"""YAML as plain data that remembers its lines.

It is read as exporter-toolkit reads it: a key that is there twice is a fault, and what looks like
a number is text where text belongs. Anchors may be used, merge keys ("<<") may not.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from pmigd.core.printable import printable
from pmigd.schema.validate import KeyPath, field_path

MAX_DEPTH: Final = 8
_SHOWN_MAX: Final = 200
_NULL: Final = "tag:yaml.org,2002:null"
_BOOL: Final = "tag:yaml.org,2002:bool"
_TRUE: Final = frozenset({"yes", "true", "on"})


class NotYaml(Exception):  # noqa: N818 - it says what is the case
    """The text is no YAML that can be used; `line` counts from 1, None where it is not known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


Lines = dict[KeyPath, int]


def parse_yaml(text: str) -> tuple[Any, Lines]:
    """The document, and the line of everything in it. Raises NotYaml.

    Scalars are text, booleans or None.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        problem = printable(error.problem or "cannot be read", _SHOWN_MAX)
        raise NotYaml(problem, mark.line + 1 if mark is not None else None) from error
    except yaml.YAMLError as error:
        raise NotYaml("holds characters that YAML does not allow") from error
    except RecursionError as error:
        raise NotYaml("is nested too deeply") from error
    lines: Lines = {}
    return (None if node is None else _plain(node, (), lines)), lines


def _plain(node: yaml.Node, path: KeyPath, lines: Lines) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(path) > MAX_DEPTH:
        raise NotYaml("is nested too deeply", line)
    match node:
        case yaml.MappingNode():
            table: dict[str, Any] = {}
            for key, value in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    raise NotYaml("a key is not text", line)
                if key.value in table:
                    raise NotYaml(
                        f"{printable(field_path((*path, key.value)), _SHOWN_MAX)} is twice", line
                    )
                lines[*path, key.value] = line
                table[key.value] = _plain(value, (*path, key.value), lines)
            return table
        case yaml.SequenceNode():
            return [_plain(item, (*path, i), lines) for i, item in enumerate(node.value)]
        case _ if node.tag == _NULL:
            return None
        case _ if node.tag == _BOOL:
            return node.value.lower() in _TRUE
        case _:
            return node.value
