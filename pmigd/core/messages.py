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
from pmigd.core.model import State


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
    State.QUEUED: Message(
        "63496eb5ef034f56adde30cafdb19be4",
        "The migration of {domain} is queued",
        "It starts by itself. 'pmigctl show {migration}' tells what it waits for.",
    ),
    State.PREPARING: Message(
        "b4672c3eaad44aea875dd6d68e80c5ca",
        "The migration of {domain} has started",
        "The guest is still at the source; 'pmigctl abort {domain}' there ends the migration.",
    ),
    State.PRECOPY: Message(
        "10ffa71eaf6b4200ba0076aad54a8d8a",
        "The migration of {domain} is copying",
        "The guest is still at the source; 'pmigctl abort {domain}' there ends the migration.",
    ),
    State.POSTCOPY: Message(
        "168016f84c884e9ab413927b5866fe5b",
        "The migration of {domain} has switched to post-copy",
        "The guest runs at the destination and fetches the rest of its memory. It needs both\n"
        "hosts and the link between them until the end; nobody can abort the migration any more.",
    ),
    State.POSTCOPY_PAUSED: Message(
        "0c5dfdb9ee3c419aaaa1bb5898923e09",
        "The migration of {domain} is paused in post-copy",
        runbook="postcopy-paused",
    ),
    State.FINISHING: Message(
        "33d245abf3d244c18c400b0304a24f52",
        "The migration of {domain} is finishing",
        "pmigd waits for both hosts to show where the guest runs.",
    ),
    State.SUCCEEDED: Message(
        "04192aefee2649788d79bee91ab96d1f",
        "The migration of {domain} has succeeded",
        "The guest was seen running at the destination. Nothing is to be done.",
    ),
    State.FAILED: Message(
        "887dbfd33d2f4f42b36de726c5df87df",
        "The migration of {domain} has failed",
        "Reason: {reason}. docs/problems.md has its remedy, and whether to try again.\n"
        "'pmigctl show {migration}' tells the rest.",
    ),
    State.CANCELLED: Message(
        "b48c53700f924faca99afa39d7e3288e",
        "The migration of {domain} was cancelled",
        "A deadline or somebody ended it; the guest stayed where it was.\n"
        "'pmigctl show {migration}' tells the rest.",
    ),
    State.UNRESOLVED: Message(
        "a4a21764fff14c2eb0c3d45b40aecb38",
        "The migration of {domain} is unresolved",
        "Reason: {reason}.",
        runbook="unresolved",
    ),
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
        runbook="config-refused",
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
