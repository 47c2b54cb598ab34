"""The table of states."""

from __future__ import annotations

from pmigd.core.model import State
from pmigd.core.states import MOVES, diagram, may_move


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(MOVES) == set(State)
    reached, todo = {State.QUEUED}, [State.QUEUED]
    while todo:
        for state in MOVES[todo.pop()] - reached:
            reached.add(state)
            todo.append(state)
    assert reached == set(State)


def test_a_terminal_state_has_no_way_out_and_every_other_one_leads_to_an_end() -> None:
    for state, afters in MOVES.items():
        assert state.terminal == (not afters)
        if not state.terminal:
            assert {State.FAILED, State.CANCELLED} <= afters


def test_only_proof_that_nothing_was_called_leads_back_to_the_queue() -> None:
    assert [s for s in State if s is not State.QUEUED and may_move(s, State.QUEUED)] == [
        State.PREPARING
    ]


def test_the_diagram_shows_every_move() -> None:
    text = diagram()
    for before, afters in MOVES.items():
        for after in afters:
            assert f"    {before} --> {after}\n" in text + "\n"
