"""What the engine wants done: the vocabulary that the supervisor carries out.

Every effect is asked for only after the migration that asks for it is in the journal. What changes
anything in libvirt is a :class:`Do`: a command of the ledger, by its number, which its answer names
again; how a later life of pmigd takes it up stands in :data:`pmigd.core.ledger.RULES`. All others
only read or wait, so repeating them is harmless.

There is no effect that ends a copy of a guest. The one that could, an abort, makes libvirt give up
an incoming copy while the source copy is the running one, and libvirt refuses it as soon as that is
not so (post-copy).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pmigd.core.commands import Command


@dataclass(frozen=True, slots=True)
class Prepare:
    """Look at guest and destination before the call."""


@dataclass(frozen=True, slots=True)
class Do:
    """Carry out a command: one call of libvirt, answered by :class:`pmigd.core.events.Answered`.

    It has no deadline: the answer comes when the call has really ended.
    """

    command: Command


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """Ask libvirt which settings are in force."""


@dataclass(frozen=True, slots=True)
class Look:
    """Ask both ends where the guest is, `after_s` seconds from now.

    `heard` is what libvirt had told by now; the answer names it again, for what it told since may
    make the answer out of date.
    """

    after_s: float = 0.0
    heard: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Wake:
    """Say that time went by, `after_s` seconds from now: a command is to be tried again then."""

    after_s: float


Effect = Prepare | Do | ReadSettings | Look | Wake
