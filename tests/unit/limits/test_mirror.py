"""The mirror's own part: one read at a time, what is told to whom, a read that never ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pmigd.adapters.limits import LimitsMirror, LimitSource
from pmigd.core.limits import HostLimits, Source
from tests.support.build import at


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Callable[..., LimitsMirror]]:
    """Make a mirror that reads files only, by the function it is given."""
    made: list[LimitsMirror] = []

    def make(read_conf: Callable[[Path], Mapping[str, object]], **arguments: Any) -> LimitsMirror:
        places = {"socket_dir": tmp_path, "conf_dir": tmp_path, "source": LimitSource.CONF}
        limits = LimitsMirror(
            **{"read_conf": read_conf, "now": lambda: at(0), **places, **arguments}
        )
        made.append(limits)
        return limits

    yield make
    for limits in made:
        limits.stop()


def workers(limits: LimitsMirror) -> tuple[int, Source]:
    figure = limits.current.daemons[0].max_workers
    return figure.value, figure.source


async def test_reads_never_overlap(mirror) -> None:
    inside, most = 0, 0

    def read_conf(path: Path) -> Mapping[str, object]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        inside -= 1
        return {}

    limits = mirror(read_conf)
    await asyncio.gather(*(limits.refresh() for _ in range(10)))
    assert most == 1


async def test_until_the_first_read_the_defaults_count(mirror) -> None:
    limits = mirror(lambda path: {"max_workers": 9})
    assert workers(limits) == (20, Source.DEFAULT)
    await limits.refresh()
    assert workers(limits) == (9, Source.CONF)


async def test_every_reading_is_told_and_its_age_is_no_difference(mirror) -> None:
    told: list[HostLimits] = []
    seconds, settings = 0.0, {"max_workers": 9}
    limits = mirror(lambda path: settings, on_read=told.append, now=lambda: at(seconds))
    await limits.refresh()
    assert told == [limits.current]
    seconds = 5.0
    await limits.refresh()
    assert told == [limits.current, limits.current]
    assert limits.current.daemons[0].max_workers.read_at == at(5.0)
    settings["max_workers"] = 8
    await limits.refresh()
    assert [told_limits.daemons[0].max_workers.value for told_limits in told] == [9, 9, 8]


async def test_a_read_that_does_not_end_is_said_and_keeps_the_figures(mirror, monkeypatch) -> None:
    monkeypatch.setattr("pmigd.adapters.limits.mirror.READ_DEADLINE_S", 0.05)
    release = threading.Event()
    release.set()

    def read_conf(path: Path) -> Mapping[str, object]:
        release.wait()
        return {"max_workers": 9}

    limits = mirror(read_conf)
    await limits.refresh()
    release.clear()
    for _ in range(2):
        stuck = await limits.refresh()
        assert workers(limits) == (9, Source.CONF)
        assert stuck.problems == ("no answer to 'limits' within 0.05 s",)
    release.set()
    monkeypatch.setattr("pmigd.adapters.limits.mirror.READ_DEADLINE_S", 5)
    assert (await limits.refresh()).problems == ()


async def test_a_changed_configuration_counts_from_the_next_read(mirror, tmp_path: Path) -> None:
    limits = mirror(lambda path: {"max_workers": 9 if path.name == "libvirtd.conf" else 11})
    await limits.refresh()
    limits.configure(LimitSource.CONF, tmp_path / "own.conf")
    assert workers(limits) == (9, Source.CONF)
    await limits.refresh()
    assert workers(limits) == (11, Source.CONF)
    limits.configure(LimitSource.DEFAULT, None)
    await limits.refresh()
    assert workers(limits) == (20, Source.DEFAULT)
