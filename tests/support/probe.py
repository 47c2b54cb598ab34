"""What a tree of pmigd makes of a request field. Run as a program, with that tree on its path.

Its arguments are the field's name, its option, a value as JSON, and words for pmigctl that give it.
It prints one JSON object; what the tree refuses is there as the refusal's text.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from contrib.docs import commands, request
from pmigd.adapters.libvirt import translate
from pmigd.adapters.libvirt.commands import set_each
from pmigd.api.openapi import document
from pmigd.cli import options, parser, settings, shells
from pmigd.config.load import check
from pmigd.config.reference import reference_text
from pmigd.core.asked import fingerprint
from pmigd.core.facts import HostFacts
from pmigd.core.finding import Finding
from pmigd.core.model import Plan, Request, Target
from pmigd.core.problem import Refused
from pmigd.core.request_check import check_role
from pmigd.core.roles import Role
from pmigd.core.settings import changed, given
from pmigd.core.versions import too_old
from pmigd.wire.migration import settings_view
from pmigd.wire.request import parse_change, parse_request, request_view

ROUTE = {"domain": "web1", "destination": "hostb"}
NAME = sys.argv[1]
OPTION = sys.argv[2]


class Libvirt:
    """A domain that notes what it is called for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, arguments))


def asks(value: object) -> Any:
    return parse_request({**ROUTE, NAME: value}, {})


def typed(*words: str) -> Any:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            args = parser.build().parse_args([words[0], *words[1:]])
        except SystemExit:
            return said.getvalue().splitlines()[-1]
    return options.fields(args, options.SET if words[0] == "set" else options.MIGRATE)


def configured(text: str) -> Any:
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(f"[migration]\n{text}\n")
        file.flush()
        config, findings = check(Path(file.name), host_name="hosta")
    if config is None:
        return findings[0].message
    return getattr(parse_request(ROUTE, config.defaults), NAME)


def forbidden(wanted: Request) -> None:
    check_role(wanted, Role.OPERATOR)


def plan(wanted: Request) -> Plan:
    return Plan(Target("hostb", "qemu+tls://hostb/system"), wanted, False, False)


def changes(value: object) -> Any:
    wanted, _ = parse_change({NAME: value})
    libvirt = Libvirt()
    set_each(libvirt, wanted)  # type: ignore[arg-type]
    return {
        "words": [words for _, _, words in given(wanted)],
        "becomes": getattr(changed(Request(**ROUTE), wanted), NAME),
        "calls": libvirt.calls,
        "in force": msgspec.to_builtins(settings_view(wanted, Request(**ROUTE))),
        "said": settings.phrase(NAME, value),
    }


def old(wanted: Request) -> list[Finding]:
    facts = HostFacts(libvirt_version="9.0.0", hypervisor_version="7.2.0")
    return too_old(wanted, facts, facts)


def tried(of: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return of(*arguments)
    except Refused as refused:
        return refused.problem.detail


VALUE = json.loads(sys.argv[3])
asked = tried(asks, VALUE)
known = not isinstance(asked, str)
found = {
    "parsed": getattr(asked, NAME) if known else asked,
    "wrong": tried(asks, [VALUE]),
    "view": msgspec.to_builtins(request_view(asked)).get(NAME) if known else None,
    "journal": known and msgspec.json.decode(msgspec.json.encode(asked), type=Request) == asked,
    "asked": fingerprint(asked) != fingerprint(Request(**ROUTE)) if known else None,
    "openapi": document()["components"]["schemas"]["MigrationRequest"]["properties"].get(NAME),
    "typed": typed("migrate", "web1", "hostb", *sys.argv[4:]),
    "help": OPTION in commands.text(),
    "completions": [OPTION in shells.script(shell, parser.build()) for shell in ("bash", "zsh")],
    "page": [line for line in request.text().splitlines() if line.startswith(f"| `{NAME}`")],
    "key": [line for line in reference_text().splitlines() if line.startswith(f"#{NAME} =")],
    "configured": configured(f"{NAME} = {sys.argv[3]}"),
    "forbidden": tried(forbidden, asked) if known else None,
    "flags": translate.flags_of(plan(asked)) if known else None,
    "params": translate.params_of(plan(asked)) if known else None,
    "too old": [finding.detail for finding in old(asked)] if known else None,
    "set": typed("set", "web1", *sys.argv[4:]),
    "changed": tried(changes, VALUE),
}
print(json.dumps(found))
