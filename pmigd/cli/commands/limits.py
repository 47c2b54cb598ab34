"""Show what migrations need of this host, how much there is of it, and who has it.

USED is held by migrations, OTHERS by anybody else, FREE is left for migrations. RESERVE is kept
free, so that a migration can always be aborted. FROM says where the limit was read: a key of
[limits], a daemon while it runs, its file, or libvirt's default.
"""

from __future__ import annotations

from pmigd.cli import exits, figures, resources
from pmigd.cli.cells import Column, Gauge
from pmigd.cli.command import Command
from pmigd.cli.output import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Final

    from pmigd.cli.cells import AnyCell
    from pmigd.cli.output import Output
    from pmigd.client import Client, JsonObject

_EPILOG = """\
examples:
  pmigctl limits
  pmigctl --json limits | jq -r '.resources[] | [.resource, .used, .limit] | @tsv'
"""

_COLUMNS: Final = (
    Column("RESOURCE"),
    Column("USED", right=True),
    Column("OTHERS", drop=2, right=True),
    Column("FREE", right=True),
    Column("LIMIT", right=True),
    Column("RESERVE", drop=3, right=True),
    Column("FROM", drop=1, cut=17),
)
_BAR: Final = Column("IN USE", drop=4)
_BAR_WIDTH: Final = 6
_KEYS: Final = {
    "outgoing_slot": "max_outgoing",
    "incoming_slot": "max_incoming",
    "preparing_slot": "max_preparing",
    "ssh_startup": "ssh_startups",
}
"""The keys in [limits] that set them."""


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(_args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch and show. Raises ClientError."""
    answer = client.get("/v1/limits")
    if output.json:
        output.object(answer)
        return exits.SUCCEEDED
    found = _objects(answer, "resources")
    rows = [_row(resource) for resource in found]
    columns = list(_COLUMNS)
    if output.terminal:
        columns.insert(-1, _BAR)
        for row, resource in zip(rows, found, strict=True):
            row.insert(-1, _bar(resource))
    output.table(columns, rows)
    for resource in found:
        if resource.get("note"):
            output.line(f"note: {one_line(resource['note'])}")
    problems = answer.get("problems")
    for problem in problems if isinstance(problems, list) else []:
        output.line(f"problem: {one_line(problem)}")
    if problems:
        output.line("Until that is mended, the limits count that FROM names.")
    for daemon in _objects(answer, "daemons"):
        output.line(_daemon(daemon))
    output.line(f"leases given to peers: {resources.leases(answer.get('given'))}")
    queued = answer.get("queued")
    hint = " (pmigctl list says what each waits for)" if queued else ""
    output.line(f"queued on {one_line(answer.get('host'))}: {_figure(queued)}{hint}")
    return exits.SUCCEEDED


def _row(resource: JsonObject) -> list[AnyCell]:
    used, others, usable = (_count(resource, key) for key in ("used", "others", "usable"))
    return [
        resources.name(resource.get("resource")),
        _figure(resource.get("used")),
        _figure(resource.get("others")),
        str(max(0, usable - used - others)),
        _figure(resource.get("limit")),
        _figure(resource.get("reserve")),
        _source(resource),
    ]


def _source(resource: JsonObject) -> str:
    name, daemon = resource.get("resource"), resource.get("daemon")
    match resource.get("source"):
        case "config":
            return _KEYS.get(str(name), "configured")
        case "virt-admin":
            text = one_line(daemon)
        case "conf":
            text = "qemu.conf" if name == "migration_port" else f"{one_line(daemon)}.conf"
        case "default":
            text = "libvirt's default"
        case other:
            text = one_line(other)
    age_s = resource.get("age_s")
    if isinstance(age_s, int | float):
        text += f", {figures.duration(int(age_s))} ago"
    return text


def _bar(resource: JsonObject) -> Gauge:
    """How much of what migrations may hold is gone."""
    usable = max(1, _count(resource, "usable"))
    taken = min(usable, _count(resource, "used") + _count(resource, "others"))
    # Rounded down, so that it is full only when nothing is left, but never to nothing.
    percent = max(100 * taken // usable, 1 if taken else 0)
    return Gauge(percent, longest=_BAR_WIDTH)


def _daemon(daemon: JsonObject) -> str:
    head = one_line(daemon.get("daemon"))
    if daemon.get("clients") is None:
        return (
            f"{head}: says nothing of its use; at most {_figure(daemon.get('clients_limit'))}"
            f" clients and {_figure(daemon.get('workers_limit'))} workers"
        )
    return (
        f"{head}: clients {_of(daemon, 'clients')},"
        f" anonymous {_of(daemon, 'anonymous_clients')},"
        f" workers {_of(daemon, 'workers')} ({_figure(daemon.get('workers_free'))} free),"
        f" calls waiting {_figure(daemon.get('queued_calls'))}"
    )


def _of(daemon: JsonObject, key: str) -> str:
    return f"{_figure(daemon.get(key))}/{_figure(daemon.get(f'{key}_limit'))}"


def _objects(answer: JsonObject, key: str) -> list[JsonObject]:
    found = answer.get(key)
    return [o for o in found if isinstance(o, dict)] if isinstance(found, list) else []


def _count(resource: JsonObject, key: str) -> int:
    value = resource.get(key)
    return value if isinstance(value, int) else 0


def _figure(value: object) -> str:
    return "-" if value is None else one_line(value)


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
    epilog=_EPILOG,
)
