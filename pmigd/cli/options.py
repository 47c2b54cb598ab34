"""What ``pmigctl migrate`` accepts, and which field of the request each option fills.

One row per option: the arguments, the request, the help and the completion all come from this
table. Whatever virsh has a name for keeps virsh's name. Values are checked for their type only;
what may be combined with what is for the daemon to say, so that every client hears the same
answer.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from pmigd.cli.errors import JsonObject


@dataclass(frozen=True, slots=True)
class Group:
    """A heading in --help, with one line that says what its options are about."""

    title: str
    teaches: str


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    ``field`` is the request field it fills; None for what only the client does. ``value`` is what
    the field becomes for kind ``set``. Options that share ``excludes`` may not be given together.
    """

    flags: tuple[str, ...]
    help: str
    field: str | None
    kind: Literal["set", "yes-no", "number", "text", "choice"]
    value: object = True
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    excludes: str | None = None


Table = tuple[tuple[Group, tuple[Option, ...]], ...]

MIGRATE: Final[Table] = (
    (
        Group("how the guest travels", "live and peer-to-peer unless told otherwise."),
        (
            Option(
                ("--live",),
                "the guest runs on while its memory is copied (the default); --no-live pauses it"
                " first",
                "live",
                "yes-no",
            ),
            Option(
                ("--p2p",),
                "the source's libvirt talks to the destination's by itself (the default and only"
                " way)",
                "flow",
                "set",
                "p2p",
            ),
            Option(
                ("--tunnelled", "--tunneled"),
                "send the guest through libvirt's own connection instead of a second one: slower,"
                " but needs no other port",
                "transport",
                "set",
                "tunnelled",
            ),
        ),
    ),
    (
        Group(
            "its definition",
            "without these it follows the guest: a persistent one arrives persistent and leaves\n"
            "nothing behind, a transient one stays transient.",
        ),
        (
            Option(
                ("--persistent",),
                "keep (or do not keep) the guest defined on the destination",
                "persistent",
                "yes-no",
            ),
            Option(
                ("--undefinesource",),
                "remove (or leave) its definition on the source after success",
                "undefinesource",
                "yes-no",
            ),
        ),
    ),
    (
        Group(
            "speed and time",
            "a guest that writes faster than the wire carries never finishes by itself; say\n"
            "what shall happen then.",
        ),
        (
            Option(
                ("--bandwidth",),
                "use at most this much of the network, in MiB/s",
                "bandwidth_mib_s",
                "number",
                metavar="MIB_S",
            ),
            Option(
                ("--timeout",),
                "after S seconds do what --on-timeout says. Note: virsh suspends the guest by"
                " default; pmigd does so only when asked, and aborts unless configured otherwise",
                "timeout_s",
                "number",
                metavar="S",
            ),
            Option(
                ("--timeout-suspend",),
                "at the timeout pause the guest so that the copy can finish (--on-timeout suspend)",
                "on_timeout",
                "set",
                "suspend",
                excludes="on_timeout",
            ),
            Option(
                ("--on-timeout",),
                "abort: the guest stays here; suspend: it is paused until it has moved; continue:"
                " only say so",
                "on_timeout",
                "choice",
                choices=("abort", "suspend", "continue"),
                excludes="on_timeout",
            ),
        ),
    ),
    (
        Group(
            "this client",
            "the migration belongs to pmigd: whatever becomes of pmigctl, it goes on.",
        ),
        (
            Option(("--detach",), "print the migration's ID and do not wait", None, "set"),
            Option(
                ("--verbose",),
                "show progress; in a pipe, a line for every sample instead of one now and then",
                None,
                "set",
            ),
            Option(
                ("--idempotency-key",),
                "a name of your own for this request: repeating it returns the first migration"
                " instead of starting another",
                None,
                "text",
                metavar="KEY",
            ),
        ),
    ),
)


def add(parser: argparse.ArgumentParser, table: Table) -> None:
    """Give ``parser`` a table's options. What is not given leaves no trace in the namespace."""
    for group, options in table:
        heading = parser.add_argument_group(group.title, group.teaches)
        exclusive: dict[str, argparse._MutuallyExclusiveGroup] = {}
        for option in options:
            target: argparse._ActionsContainer = heading
            if option.excludes is not None:
                if option.excludes not in exclusive:
                    exclusive[option.excludes] = heading.add_mutually_exclusive_group()
                target = exclusive[option.excludes]
            target.add_argument(*option.flags, **_argument(option))


def request(args: argparse.Namespace, table: Table) -> JsonObject:
    """The request fields that were given; the daemon's defaults apply to the others."""
    given = vars(args)
    fields = [o.field for _, options in table for o in options if o.field is not None]
    return {field: given[_dest(field)] for field in fields if _dest(field) in given}


def _dest(field: str) -> str:
    return f"request.{field}"


def _argument(option: Option) -> dict[str, Any]:
    common: dict[str, Any] = {"help": option.help, "default": argparse.SUPPRESS}
    if option.field is not None:
        common["dest"] = _dest(option.field)
    match option.kind:
        case "set":
            return {**common, "action": "store_const", "const": option.value}
        case "yes-no":
            return {**common, "action": argparse.BooleanOptionalAction}
        case "number":
            return {**common, "type": _number, "metavar": option.metavar}
        case "text":
            return {**common, "metavar": option.metavar}
        case "choice":
            return {**common, "choices": option.choices}


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
