"""The table of sampled figures: each row goes all the way, from libvirt's statistics to people."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from typing import Any

import libvirt
import msgspec
import pytest

from contrib.grafana import host
from pmigd.adapters.libvirt import translate
from pmigd.adapters.metrics import live, migrations
from pmigd.api.openapi import document
from pmigd.cli import listing
from pmigd.cli.cells import UNICODE
from pmigd.cli.commands import show, watch
from pmigd.cli.migration import Migration, sample
from pmigd.cli.progress import ProgressLine
from pmigd.core import events as ev
from pmigd.core import model
from pmigd.core.figures import FIGURES, SHOWN, Figure, Shown
from pmigd.core.model import Job, Sample, State
from pmigd.wire.migration import migration_view
from tests.support.build import T0
from tests.unit.metrics.story import World

JOB_FIELDS = {value for name, value in vars(libvirt).items() if name.startswith("VIR_DOMAIN_JOB_")}
NOW = datetime(2026, 11, 21, tzinfo=UTC)
PAGE = 4096
PANELS = json.loads(host.text())["panels"]
PROGRESS = document()["components"]["schemas"]["Progress"]["properties"]

each_figure = pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
each_shown = pytest.mark.parametrize(
    ("figure", "shown"), SHOWN, ids=lambda x: getattr(x, "name", "")
)


def _statistics() -> dict[str, int]:
    """A different figure for every row that libvirt tells; more was sent than is left."""
    told = {f.libvirt: 1000 + 7 * n for n, f in enumerate(FIGURES) if f.libvirt}
    assert len(told) == len([f for f in FIGURES if f.libvirt]), "two rows are the same of libvirt's"
    return told | {"memory_page_size": PAGE}


@cache
def _sampled() -> tuple[World, model.Migration, dict[str, Any]]:
    """A migration that libvirt has told everything of: in the metrics, and on the wire."""
    world = World()
    m = world.happens(
        world.running(),
        ev.SettingsRead(model.Settings(max_downtime_ms=300)),
        ev.Sampled(Job.OUTGOING, translate.sample_of(_statistics(), T0)),
    )
    return world, m, json.loads(msgspec.json.encode(migration_view(m, None)))


def test_every_field_of_a_sample_has_its_row_and_every_row_its_field_or_property() -> None:
    names = [figure.name for figure in FIGURES]
    assert len(set(names)) == len(names)
    assert {field.name for field in fields(Sample)} <= set(names)
    assert all(hasattr(Sample, name) for name in names)


@each_figure
def test_what_libvirt_tells_comes_into_the_sample(figure: Figure) -> None:
    if not figure.libvirt:
        return
    assert figure.libvirt in JOB_FIELDS
    told = _statistics()
    wanted = told[figure.libvirt] * (PAGE if figure.libvirt == "memory_dirty_rate" else 1)
    assert getattr(translate.sample_of(told, T0), figure.name) == wanted
    without = {key: value for key, value in told.items() if key != figure.libvirt}
    assert getattr(translate.sample_of(without, T0), figure.name) == getattr(
        Sample(T0), figure.name
    )


@each_figure
def test_what_is_on_the_wire_has_the_samples_value_there_and_a_schema(figure: Figure) -> None:
    _, m, raw = _sampled()
    assert set(raw["progress"]) == set(PROGRESS)
    assert (figure.wire in PROGRESS) is bool(figure.wire)
    if figure.wire and figure.name != "at":
        value = getattr(m.progress, figure.name)
        assert raw["progress"][figure.wire] == (pytest.approx(value) if value else value)
        assert f"{figure.wire}:" in "\n".join(show.describe(raw, NOW)) or value is None


@each_figure
def test_what_is_measured_is_exported_in_base_units_and_drawn(figure: Figure) -> None:
    world, m, _ = _sampled()
    families = {family.name: family for family in live.FAMILIES}
    if not figure.gauge:
        assert not figure.panel
        return
    family = families[f"pmigd_migration_{figure.gauge}"]
    assert family.meaning == figure.meaning
    value = world.value(family.name, {"domain": m.domain.name})
    assert value == getattr(m.progress, figure.name) / figure.per_unit
    assert (family.unit in ("seconds", "0 to 1")) is (figure.per_unit != 1)
    if figure.panel:
        drawn = [panel for panel in PANELS if panel["title"] == figure.panel]
        assert [family.name in json.dumps(panel["targets"]) for panel in drawn] == [True]


@each_figure
def test_what_grows_moves_its_counter(figure: Figure) -> None:
    if not figure.counter:
        return
    world, m, _ = _sampled()
    name = f"pmigd_migration_{figure.counter}_total"
    assert name in {family.name for family in migrations.FAMILIES}
    values = {labels: v for labels, v in world.values(name).items() if figure.kind in labels}
    assert list(values.values()) == [getattr(m.progress, figure.name)]


@each_shown
def test_pmigctl_shows_it_in_the_table_beside_the_bar_in_lines_and_in_the_help(
    figure: Figure, shown: Shown
) -> None:
    _, _, raw = _sampled()
    migration = Migration(raw)
    text = migration.shown(figure)
    titles = [column.title for column in listing.columns(ids=False)]
    (row,) = listing.rows([migration], NOW, ids=False)
    assert str(row[titles.index(shown.title)]) == text
    assert text != "-"
    assert not shown.bar or f" {shown.bar.format(text)} " in f"{_bar(migration)} "
    assert not shown.line or f", {shown.line.format(text)}," in f"{sample(migration)},"
    line = rf"^  {shown.title} +{re.escape(shown.help)}$"
    assert bool(shown.help) is bool(re.search(line, watch.COMMAND.epilog or "", re.MULTILINE))


def _bar(migration: Migration) -> str:
    return "".join(piece for piece, _ in ProgressLine(migration, NOW, UNICODE).line(300))


@pytest.mark.parametrize(
    ("sent", "dirtied", "outpaced"),
    [
        (100, 94, False),
        (100, 95, True),
        (100, 120, True),
        (0, 0, False),
        (0, 1, True),
        (None, 1, True),
        (100, None, False),
        (None, None, False),
    ],
)
def test_nearly_as_fast_as_it_is_sent_is_too_fast(
    sent: int | None, dirtied: int | None, outpaced: bool
) -> None:
    world = World()
    m = world.sampled(world.running(), memory_bytes_per_second=sent, dirty_bytes_per_second=dirtied)
    assert m.outpaced is outpaced
    raw = json.loads(msgspec.json.encode(migration_view(m, None)))
    assert raw["progress"]["outpaced"] is outpaced
    assert Migration(raw).outpaced is outpaced
    assert (Migration(raw).eta() == "never") is outpaced


def test_once_the_guest_runs_over_there_what_it_writes_does_not_count() -> None:
    world = World()
    m = world.sampled(world.running(), memory_bytes_per_second=5, dirty_bytes_per_second=9)
    assert m.outpaced
    m = world.happens(m, ev.PostcopyBegan())
    assert (m.state, m.outpaced) == (State.POSTCOPY, False)
    assert migration_view(m, None).progress.outpaced is False  # type: ignore[union-attr]
