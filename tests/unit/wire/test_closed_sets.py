"""What the API's description says a word may be is what the core may say."""

from __future__ import annotations

from enum import StrEnum

import msgspec
import pytest

from pmigd.api.openapi import document
from pmigd.core.commands import Outcome
from pmigd.core.holdings import Phase
from pmigd.core.model import Direction, Mode, OnTimeout, Power
from pmigd.core.states import State
from pmigd.wire.peer import LeaseEntry

COMPONENTS = document()["components"]["schemas"]


@pytest.mark.parametrize("words", [State, Direction, Mode, Outcome, OnTimeout, Power])
def test_it_is_the_whole_of_the_cores_set(words: type[StrEnum]) -> None:
    assert set(COMPONENTS[words.__name__]["enum"]) == set(words)


def test_peers_may_tell_every_phase_and_no_other() -> None:
    domain = {"name": "web1", "uuid": "11111111-2222-3333-4444-555555555555"}
    entry = {"id": "0192e4a0-0000-7000-8000-000000000001", "domain": domain}
    for phase in Phase:
        assert msgspec.convert(entry | {"phase": str(phase)}, LeaseEntry).phase is phase
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(entry | {"phase": "gone"}, LeaseEntry)
