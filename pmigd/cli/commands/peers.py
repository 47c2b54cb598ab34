"""Show the hosts that guests can be sent to, and how their pmigd and this host's get on.

QUEUED and RUNNING are migrations from here to there, GIVEN the leases that the peer has here. CLOCK
is the peer's time less this host's. Below the table are the faults that these versions of libvirt
and QEMU are known to have, with the options that they matter for; docs/findings.md has them all.
"""

from __future__ import annotations

from pmigd.cli import exits, resources
from pmigd.cli.cells import Cell, Column
from pmigd.cli.command import Command
from pmigd.cli.output import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Final

    from pmigd.cli.cells import AnyCell
    from pmigd.cli.output import Output
    from pmigd.client import Client, JsonObject

CLOCKS_APART_S: Final = 1.0

_COLUMNS: Final = (
    Column("NAME"),
    Column("PMIGD", cut=24),
    Column("QUEUED", right=True),
    Column("RUNNING", right=True),
    Column("GIVEN", drop=1),
    Column("CLOCK", drop=2),
    Column("LIBVIRT", drop=3),
    Column("QEMU", drop=4),
    Column("URI", drop=5),
    Column("MIGRATE_URI", drop=6),
)


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """It takes none of its own."""


def run(_args: argparse.Namespace, client: Client, output: Output) -> int:
    """Fetch and show. Raises ClientError."""
    if output.json:
        output.object(client.get("/v1/peers"))
        return exits.SUCCEEDED
    peers = list(client.items("/v1/peers"))
    output.table(_COLUMNS, [_row(peer) for peer in peers])
    for peer in peers:
        for text in _advice(peer):
            output.line(f"{_cell(peer.get('name'))}: {text}")
    for text in _known_defects(peers):
        output.line(text)
    return exits.SUCCEEDED


def _row(peer: JsonObject) -> list[AnyCell]:
    offset_s = _clock_offset_s(peer)
    clock = "-" if offset_s is None else f"{offset_s:+.2f}s"
    return [
        _cell(peer.get("name")),
        _daemon(peer.get("pmigd")),
        _cell(peer.get("queued")),
        _cell(peer.get("running")),
        resources.leases(peer.get("given")),
        f"{clock} (!)" if _apart(offset_s) else clock,
        _cell(peer.get("libvirt_version")),
        _cell(peer.get("hypervisor_version")),
        _cell(peer.get("uri")),
        _cell(peer.get("migrate_uri")),
    ]


def _daemon(daemon: object) -> AnyCell:
    if not isinstance(daemon, dict):
        return "none: only this host's own limits"
    if daemon.get("answers"):
        return f"up {_cell(daemon.get('version'))}"
    return Cell(f"away: {_cell(daemon.get('detail'))}", "trouble")


def _advice(peer: JsonObject) -> list[str]:
    daemon, offset_s = peer.get("pmigd"), _clock_offset_s(peer)
    lines = []
    if isinstance(daemon, dict) and not daemon.get("answers"):
        lines.append(
            f"what is queued for it waits for its pmigd at {_cell(daemon.get('url'))}, and fails"
            " if that stays away; what runs goes on. Is pmigd running there, and reachable?"
        )
    if offset_s is not None and _apart(offset_s):
        word = "ahead of" if offset_s > 0 else "behind"
        lines.append(
            f"its clock is {abs(offset_s):.1f} s {word} this host's, and libvirt's downtime_ms"
            " is off by as much. Let both hosts keep time by NTP."
        )
    return lines


def _known_defects(peers: list[JsonObject]) -> list[str]:
    """Each once, with the peers that guests cannot be sent to without it, and what to do."""
    from pmigd.cli.words import in_options

    told: dict[tuple[str, str], list[str]] = {}
    for peer in peers:
        defects = peer.get("defects")
        for defect in defects if isinstance(defects, list) else []:
            option = in_options(f"'{defect.get('field')}'")
            asked = f" with {option}" if option.startswith("--") else ""
            level, code = one_line(defect.get("level") or "?"), one_line(defect.get("code") or "?")
            detail = in_options(one_line(defect.get("detail") or ""))
            text = f"{level} {code}{asked}: {detail}"
            remedy = in_options(one_line(defect.get("remedy") or ""))
            told.setdefault((text, remedy), []).append(_cell(peer.get("name")))
    lines = []
    for (text, remedy), names in told.items():
        lines += [f"to {', '.join(names)}: {text}", f"  remedy: {remedy}"]
    return lines


def _clock_offset_s(peer: JsonObject) -> float | None:
    daemon = peer.get("pmigd")
    offset_s = daemon.get("clock_offset_s") if isinstance(daemon, dict) else None
    return float(offset_s) if isinstance(offset_s, int | float) else None


def _apart(offset_s: float | None) -> bool:
    return offset_s is not None and abs(offset_s) > CLOCKS_APART_S


def _cell(value: object) -> str:
    return "-" if value in (None, "") else one_line(value)


COMMAND = Command(
    description=__doc__,
    add_arguments=add_arguments,
    run=run,
)
