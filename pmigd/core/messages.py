"""The operator's events: each with an id that never changes, one sentence, and what to do.

systemd's journal finds an event by its id (``journalctl MESSAGE_ID=...``) and shows the text beside
it (``journalctl -x``). systemd/pmigd.catalog is made from this table and the runbooks. An id is
never used again for something else; ``systemd-id128 new`` makes one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pmigd.core.canonical import EVENT
from pmigd.core.states import State


@dataclass(frozen=True, slots=True)
class Message:
    """What is fixed about one event.

    `id` has 32 lower-case hex digits. `text` says what it means and what to do, `runbook` is a page
    of docs/runbooks that does. `sentence` and `text` may name the event's fields: ``{domain}``.
    """

    id: str
    sentence: str
    text: str = ""
    runbook: str = ""


MIGRATION: Final[dict[State, Message]] = {
    state: Message(
        state.about.message,
        f"The migration of {{domain}} {state.about.says}",
        state.about.text,
        state.about.runbook,
    )
    for state in State
}
"""What a migration's line says, by the state that it has come to."""

HOST: Final[dict[str, Message]] = {
    "libvirt lost": Message(
        "3d0bd500512d4371bcf8550534e61b7d", "libvirt is away", runbook="libvirt-away"
    ),
    "libvirt connected": Message(
        "07d02bcdd09f4be187c31a89621f2671",
        "libvirt is connected",
        "pmigd looks at every guest afresh and goes on with its queue. Nothing is to be done.",
    ),
    "configuration not reloaded": Message(
        "b536420b9eaf4aa3b7dba273456d7bbb",
        "The configuration was not reloaded",
        runbook="configuration",
    ),
    "journal cannot be written": Message(
        "6b3ead2171b142a9ad9adef8c684ee37",
        "The journal of migrations cannot be written",
        runbook="journal",
    ),
    "journal can be written again": Message(
        "e7c72984d816494990383d7e66827336",
        "The journal of migrations can be written again",
        "New migrations are taken again. Nothing is to be done.",
    ),
    "journal row cannot be read": Message(
        "d2e053421afa4d58b4bb6036b28278cd",
        "A row of the journal of migrations cannot be read",
        runbook="journal",
    ),
    "peer does not answer": Message(
        "39a921da54cd44799e211c22cb3ef902",
        "The pmigd of {peer} does not answer",
        runbook="peer-away",
    ),
    "peer answers again": Message(
        "74986736103e412a8a2b0ed9c464f6ae",
        "The pmigd of {peer} answers again",
        "What is queued to it goes on. Nothing is to be done.",
    ),
    "lease expired": Message(
        "1e8dc1d1c8c247369658d537d0801a50",
        "A lease of {peer} has expired",
        "{peer} has not reported for longer than a lease lives, and its guest is not seen coming.\n"
        "What it held here is free for others. If its pmigd is not meant to be off, look there:\n"
        "'systemctl status pmigd', and the link between the hosts.",
    ),
}
"""What is said about the host, by the event's text."""


_BY_STATE: Final = {state.value: message for state, message in MIGRATION.items()}


def message_of(event: Mapping[str, object]) -> Message | None:
    """The message of a logged event; None for what is no operator's business."""
    said = event.get("event")
    if said == EVENT:
        return _BY_STATE.get(str(event.get("state")))
    return HOST.get(str(said))


def filled(text: str, value: Callable[[str], str]) -> str:
    """`text` with each field that it names as `value` has it."""
    return re.sub(r"\{(\w+)\}", lambda name: value(name[1]), text)


def journal_field(key: str) -> str:
    """What an event's field is called in systemd's journal: ``PMIGD_DOMAIN``."""
    return "PMIGD_" + re.sub(r"[^A-Z0-9_]", "_", key.upper())
