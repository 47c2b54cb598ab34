"""What a scrape costs: series and bytes, the time to answer, CPU time, memory.

A daemon with no and with eight migrations is scraped over TCP by a client that stays connected, as
Prometheus does. No lab has 300 at a time: for these the real exporter renders, in this process,
migrations that the real engine leads, with made-up statistics; HTTP is left out.
"""

from __future__ import annotations

import contextlib
import gc
import http.client
import time
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from contrib.bench import busy
from contrib.bench.exporter import Exporter, count
from contrib.bench.lags import Lags
from contrib.bench.process import cpu_seconds, resident_mib
from contrib.bench.stage import MAX_OUTGOING, stage
from contrib.bench.stats import Figure, percentile
from contrib.lab import LabError
from contrib.lab.deadlines import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from contrib.bench.stage import Settings
    from contrib.lab import Host

SCRAPES: Final = 100
QUICK_SCRAPES: Final = 10
SOAK: Final = 2000
QUICK_SOAK: Final = 50
MANY: Final = 300
PAUSE_S: Final = 0.03  # so that each finds the processor's caches used by others
_PORT: Final = 9718
_OPENMETRICS: Final = (  # what Prometheus 2.42 sends
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
_PLAIN: Final = "text/plain;version=0.0.4"
FORMS: Final[Mapping[str, Mapping[str, str]]] = {
    "plain text": {"Accept": _PLAIN},
    "plain text, gzip": {"Accept": _PLAIN, "Accept-Encoding": "gzip"},
    "OpenMetrics": {"Accept": _OPENMETRICS},
    "OpenMetrics, gzip": {"Accept": _OPENMETRICS, "Accept-Encoding": "gzip"},
}
"""What is asked for. The last is what Prometheus asks for."""


@dataclass
class _Found:
    """What came of scraping one host in one form."""

    times_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    sent: int = 0
    text: str = ""


def run(settings: Settings) -> list[Figure]:
    """A daemon, idle and busy, then many migrations without one."""
    scrapes, soak = (QUICK_SCRAPES, QUICK_SOAK) if settings.quick else (SCRAPES, SOAK)
    with stage(1 if settings.quick else 2) as lab:
        host = lab.hosts[0]
        guests = [] if settings.quick else busy.ready(lab)
        # The daemon serves its socket a moment before it listens here.
        until(lambda: _listens(host), "the listener for Prometheus", timeout=10)
        _scrape(host, FORMS["plain text"], scrapes)  # for what is slow only the first time
        settings.tell("scrape: an idle daemon")
        idle, late_ms = _all_forms(host, scrapes)
        grown_kib = _grown_kib(host, soak)
        active = [Figure.left_out(f"scrape, {MAX_OUTGOING} active", "ms")]
        late = [Figure(name="event loop late, idle, at most", unit="ms", ours=[late_ms])]
        if guests:
            settings.tell(f"scrape: {MAX_OUTGOING} migrations")
            busy.send(lab, guests)
            full, late_ms = _all_forms(host, scrapes)
            left = f"{busy.under_way(host)} still active at the end"
            active = _figures(f"{MAX_OUTGOING} active", full, left)
            name = f"event loop late, {MAX_OUTGOING} active, at most"
            late.append(Figure(name=name, unit="ms", ours=[late_ms]))
    settings.tell(f"scrape: {MANY} migrations in this process")
    return [
        *_figures("idle", idle),
        *active,
        *_figures(f"{MANY} active", _rendered(MANY, scrapes), "rendered in process, no HTTP"),
        *late,
        *(
            Figure(name=f"memory grown by {which} {soak} scrapes", unit="KiB", ours=[grown])
            for which, grown in zip(("the first", "the next"), grown_kib, strict=True)
        ),
        *_series(idle["plain text"].text),
    ]


def _series(idle: str) -> list[Figure]:
    """On the idle host; what is added to it, the exporter tells by itself."""
    exporter = Exporter()
    counts = [exporter.series()]
    migration = exporter.run(0)
    counts.append(exporter.series())
    exporter.arrive(migration)
    counts.append(exporter.series())
    return [
        Figure(name="series, idle host", unit="", ours=[count(idle)]),
        Figure(name="series, each active migration", unit="", ours=[counts[1] - counts[0]]),
        Figure(name="series, each that ended lately", unit="", ours=[counts[2] - counts[0]]),
    ]


def _figures(name: str, found: Mapping[str, _Found], note: str = "") -> list[Figure]:
    return [
        figure
        for form, result in found.items()
        for figure in (
            Figure(
                name=f"scrape, {name}, {form}",
                unit="ms",
                ours=result.times_ms,
                note=f"99th percentile {percentile(result.times_ms, 99):.1f};"
                f" {count(result.text)} series, {result.sent / 1000:.1f} kB",
            ),
            Figure(name=f"CPU, {name}, {form}", unit="ms", ours=result.cpu_ms, note=note),
        )
    ]


# A daemon


def _all_forms(host: Host, scrapes: int) -> tuple[dict[str, _Found], float]:
    """What came of each form, and how late the event loop was meanwhile (milliseconds)."""
    lags = Lags(host)
    found = {form: _scrape(host, headers, scrapes) for form, headers in FORMS.items()}
    return found, lags.most_ms()


def _scrape(host: Host, headers: Mapping[str, str], scrapes: int) -> _Found:
    """Scrape so many times, then wait as long, to know what the daemon spends by itself."""
    found = _Found()
    with _scraper(host, headers) as scrape:

        def once() -> None:
            began = time.perf_counter()
            response, body = scrape()
            found.times_ms.append((time.perf_counter() - began) * 1000)
            packed = response.getheader("Content-Encoding") == "gzip"
            found.sent = len(body)
            found.text = (zlib.decompress(body, wbits=31) if packed else body).decode()

        began = time.monotonic()
        spent = _spent(host, lambda: _repeat(once, scrapes))
        seconds = time.monotonic() - began
        alone = _spent(host, lambda: time.sleep(seconds))
    found.cpu_ms = [(spent - alone) * 1000 / scrapes]
    return found


def _listens(host: Host) -> bool:
    try:
        host.connect(_PORT).close()
    except ConnectionRefusedError:
        return False
    return True


@contextlib.contextmanager
def _scraper(
    host: Host, headers: Mapping[str, str]
) -> Iterator[Callable[[], tuple[http.client.HTTPResponse, bytes]]]:
    """A client of the host's metrics that stays connected."""
    connection = http.client.HTTPConnection(host.address, _PORT)
    connection.sock = host.connect(_PORT)

    def scrape() -> tuple[http.client.HTTPResponse, bytes]:
        connection.request("GET", "/metrics", headers=dict(headers))
        response = connection.getresponse()
        body = response.read()
        if response.status != http.client.OK:
            raise LabError(f"GET /metrics on {host.name}: {response.status}")
        return response, body

    with contextlib.closing(connection):
        yield scrape


def _grown_kib(host: Host, scrapes: int) -> tuple[float, float]:
    """By how much the daemon's memory grows by so many scrapes, and by as many more."""
    sizes = [resident_mib(host.pmigd.pid)]
    with _scraper(host, FORMS["OpenMetrics, gzip"]) as scrape:
        for _ in range(2):
            for _ in range(scrapes):
                scrape()
            sizes.append(resident_mib(host.pmigd.pid))
    first, second, third = (size * 1024 for size in sizes)
    return second - first, third - second


def _repeat(once: Callable[[], None], times: int) -> None:
    for _ in range(times):
        once()
        time.sleep(PAUSE_S)


def _spent(host: Host, action: Callable[[], None]) -> float:
    """CPU seconds of the host's pmigd meanwhile."""
    before = cpu_seconds(host.pmigd.pid)
    action()
    return cpu_seconds(host.pmigd.pid) - before


# This process


def _rendered(active: int, scrapes: int) -> dict[str, _Found]:
    gc.freeze()  # as the daemon does when it starts
    try:
        exporter = Exporter()
        for number in range(active):
            exporter.run(number)
        return {form: _render(exporter, headers, scrapes) for form, headers in FORMS.items()}
    finally:
        gc.unfreeze()


def _render(exporter: Exporter, headers: Mapping[str, str], scrapes: int) -> _Found:
    found = _Found()
    for _ in range(scrapes):
        began, cpu_began = time.perf_counter(), time.process_time()
        body, _type = exporter.metrics.render(headers["Accept"])
        sent = zlib.compress(body) if "Accept-Encoding" in headers else body
        found.times_ms.append((time.perf_counter() - began) * 1000)
        found.cpu_ms.append((time.process_time() - cpu_began) * 1000)
        found.sent, found.text = len(sent), body.decode()
    return found
