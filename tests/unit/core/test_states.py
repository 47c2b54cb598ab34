"""The table of states: what it allows, and that each row comes to every place made of it."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from contrib.docs import catalog, states
from contrib.grafana import migrations
from pmigd.adapters.metrics import host, labels
from pmigd.api.openapi import document
from pmigd.cli import exits, follow, output
from pmigd.cli.commands import list as list_command
from pmigd.client.migration import OPEN_STATES
from pmigd.core.holdings import Phase
from pmigd.core.messages import MIGRATION
from pmigd.core.states import MOVES, STUCK, State, may_move

RUNBOOKS = Path(__file__).parents[3] / "docs/runbooks"
WORDS = document()["components"]["schemas"]["State"]["enum"]
CATALOG = catalog.text()
ACCOUNT = "\n".join(
    line for line in (RUNBOOKS.parent / "limits.md").read_text().splitlines() if line[:2] == "| "
)
each_state = pytest.mark.parametrize("state", State)


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
    text = states.diagram()
    for before, afters in MOVES.items():
        for after in afters:
            assert f"    {before} --> {after}\n" in text + "\n"


@each_state
def test_it_is_named_on_the_wire_as_in_the_table(state: State) -> None:
    assert msgspec.json.encode(state) == f'"{state}"'.encode()
    assert state in WORDS
    assert State(str(state)) is state


@each_state
def test_pmigctl_offers_it_shows_it_and_knows_whether_it_is_over(state: State) -> None:
    parser = argparse.ArgumentParser()
    list_command.add_arguments(parser)
    assert parser.parse_args(["--state", state.value]).state == [state]
    assert output.ROLES[state] == state.about.style
    assert (state in OPEN_STATES) is not state.terminal
    assert (state in exits.BY_STATE) is (state.about.exit_code is not None)
    assert not state.terminal or state in exits.BY_STATE, "nobody would follow it to its end"


@each_state
def test_a_guest_that_needs_a_person_is_counted_and_the_person_told_what_to_do(
    state: State,
) -> None:
    stuck = bool(state.about.stuck)
    assert stuck is (state in STUCK) is (state in host.STUCK)
    assert stuck is (state in follow._ADVICE) is bool(state.about.advice)
    assert not stuck or state.about.runbook
    assert not stuck or "pmigctl" in state.about.advice.format(id="x")


@each_state
def test_it_has_a_phase_or_a_result_in_metrics_with_a_colour_on_the_dashboards(
    state: State,
) -> None:
    assert (state.label in labels.PHASES) is state.holds_slot
    assert (state.label in labels.RESULTS) is state.terminal
    assert (state.label in migrations.COLORS) is (state.holds_slot or state.terminal)


@each_state
def test_what_it_holds_is_a_phase_of_the_account(state: State) -> None:
    assert not state.about.held or Phase(state.about.held)
    before, after = state.about.before_switch, state.about.in_postcopy
    assert not (before and after)
    assert state.holds_slot or not (before or after)


@each_state
def test_the_log_and_the_pages_tell_of_it(state: State) -> None:
    message = MIGRATION[state]
    assert re.fullmatch("[0-9a-f]{32}", message.id)
    assert message.sentence == f"The migration of {{domain}} {state.about.says}"
    assert f"-- {message.id}\n" in CATALOG
    assert not message.runbook or (RUNBOOKS / f"{message.runbook}.md").exists()
    assert f"`{state}`" in states.table()
    (account,) = [line for line in ACCOUNT.splitlines() if f"`{state}`" in line.split("|")[2]]
    assert not state.about.held or state.about.held in account.replace("-", "")
    assert state.about.means in states.table()


def test_no_other_module_lists_states_as_text() -> None:
    root = Path(__file__).parents[3]
    ends = {state.value for state in State if state.terminal}
    for path in [*(root / "pmigd").rglob("*.py"), *(root / "contrib").rglob("*.py")]:
        if path.name in ("states.py", "upgrades.py"):  # what earlier releases wrote stays as it is
            continue
        for found in _listed(path.read_text()):
            assert not ends <= found, f"{path} lists the ends again"
            assert len(found & set(State)) < 4, f"{path} lists states again: {found}"


def _listed(source: str) -> Iterator[set[object]]:
    """The constants of each tuple, list, set and dictionary, where it may be one of states."""
    if '"cancelled"' not in source and '"precopy"' not in source:
        return
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Tuple(elts=listed) | ast.Set(elts=listed) | ast.List(elts=listed):
                yield {e.value for e in listed if isinstance(e, ast.Constant)}
            case ast.Dict(keys=keys):
                yield {e.value for e in keys if isinstance(e, ast.Constant)}


@pytest.mark.programs
def test_the_tables_cost_pmigctl_nothing_that_takes_time_to_import() -> None:
    """dataclasses alone is a tenth of the time in which pmigctl is to start."""
    script = "import sys, pmigd.core.states, pmigd.core.figures; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"dataclasses", "inspect", "datetime", "json"} & set(ran.stdout.split())
