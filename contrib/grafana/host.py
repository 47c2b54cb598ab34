"""pmigd-host.json: one host, and the guests that move."""

from __future__ import annotations

from typing import Final

from contrib.grafana import migrations
from contrib.grafana.migrations import OUT
from contrib.grafana.model import (
    BLUE,
    GREEN,
    GREY,
    LOG,
    ORANGE,
    PURPLE,
    RED,
    SYMLOG,
    Annotation,
    Column,
    Panel,
    Query,
    Variable,
    dashboard,
    graph,
    heatmap,
    sized,
    stat,
    states,
)
from pmigd.adapters.metrics.labels import PHASES
from pmigd.core.figures import FIGURES

_HEAD: Final = (
    stat(
        "Works",
        "Whether the connection to libvirt stands and the journal can be written: nothing starts "
        "without them.",
        "none",
        Query("pmigd_libvirt_up{@}", "libvirt"),
        Query("pmigd_journal_writable{@}", "journal"),
        words={1: ("yes", GREEN), 0: ("no", RED)},
    ),
    stat(
        "Versions",
        "pmigd, the libvirt daemon and the hypervisor.",
        "none",
        Query("pmigd_build_info{@}", "pmigd {{version}}"),
        Query("pmigd_libvirt_info{@}", "libvirt {{daemon_version}}"),
        Query("pmigd_libvirt_info{@}", "{{hypervisor}} {{hypervisor_version}}"),
        names_only=True,
    ),
    stat(
        "Active",
        "Migrations that leave this host now, and that arrive.",
        "none",
        Query("pmigd_migrations_active{@}", "{{direction}}"),
    ),
    stat(
        "Queued",
        "Migrations that wait for their start.",
        "none",
        Query("pmigd_migrations_queued{@}", "queued"),
    ),
    stat(
        "Free slots",
        "Further migrations that may leave, and arrive.",
        "none",
        Query("pmigd_migrations_limit{@} - pmigd_migrations_active{@}", "{{direction}}"),
    ),
    stat(
        "Oldest in the queue",
        "How long the first in the queue has been waiting. Nothing when nobody waits.",
        "s",
        Query("time() - pmigd_migration_oldest_queued_timestamp_seconds{@}", "waiting"),
    ),
    stat(
        "Unresolved",
        "Migrations whose outcome nobody knows: see the runbook. Touch neither copy.",
        "none",
        Query("pmigd_migrations_unresolved{@}", "unresolved"),
        red={"unresolved": 1},
    ),
    stat(
        "Config, certificate",
        "Time since the configuration was last read with success, and until the first certificate "
        "ends that this host shows: red for its last two weeks.",
        "s",
        Query("time() - pmigd_config_last_reload_success_timestamp_seconds{@}", "read"),
        Query("min(pmigd_tls_certificate_not_after_timestamp_seconds{@}) - time()", "ends"),
        red_below={"ends": 14 * 86400},
    ),
)


def _of(name: str, legend: str = "") -> Query:
    """A gauge of the chosen guests."""
    return Query(_chosen(name), f"{{{{domain}}}} {legend}".strip())


def _chosen(name: str) -> str:
    return f'pmigd_migration_{name}{{@, domain=~"$domain"}}'


def _drawn(title: str, description: str = "", *more: Query) -> Panel:
    """The sampled figures of a panel, and what else belongs there."""
    figures = [figure for figure in FIGURES if figure.panel == title]
    # What limits the others comes after them: the size of the memory after what remains of it.
    figures.sort(key=lambda figure: figure.needs == figure.name)
    unit = next((unit for end, unit in _UNITS if figures[0].gauge.endswith(end)), "none")
    return graph(
        title,
        description or figures[0].meaning,
        unit,
        *(_of(figure.gauge, figure.legend) for figure in figures),
        *more,
        whole=unit == "none",
        up_to=1 if unit == "percentunit" else None,
    )


_UNITS: Final = (
    ("_bytes_per_second", "binBps"),
    ("_bytes", "bytes"),
    ("_seconds", "s"),
    ("_ratio", "percentunit"),
)
_DIRTY: Final = _chosen("memory_dirty_bytes_per_second")
_RATE: Final = _chosen("memory_transfer_bytes_per_second")
_REMAINING: Final = _chosen("memory_remaining_bytes")
_COLORS: Final = {"switchover": ORANGE, "aborting": ORANGE} | migrations.COLORS
_NUMBERED: Final = tuple(enumerate(PHASES, start=1))
# A guest has one row, so its phase is made a number: its place in the list.
_PHASE: Final = " or ".join(
    f'max by (domain) (pmigd_migration_phase{{@, domain=~"$domain", phase="{phase}"}} == 1)'
    f" * {number}"
    for number, phase in _NUMBERED
)

_GUESTS: Final = (
    states(
        "Phase",
        "What each migration is doing.",
        {number: (phase, _COLORS[phase]) for number, phase in _NUMBERED},
        Query(_PHASE, "{{domain}}"),
    ),
    _drawn(
        "Memory that remains",
        "What still has to be sent in this pass, and the size of the guest's memory.",
    ),
    _drawn(
        "Sent and dirtied",
        "A guest that writes faster than it is sent can still end, in its quieter moments.",
        _of("bandwidth_limit_bytes_per_second", "limit"),
    ),
    graph(
        "Dirtied by sent",
        "Below 1 each pass is shorter than the one before.",
        "none",
        Query(f"{_DIRTY} / ({_RATE} > 0)", "{{domain}}"),
        line_at=1,
    ),
    _drawn(
        "Pause expected and allowed",
        "A forecast; the switch-over comes when it is below what is allowed.",
    ),
    _drawn("CPU time taken", "Share of CPU time that auto-converge takes from the guest."),
    _drawn("Pass over the memory", "The present pass."),
    graph(
        "Since the last progress",
        "Time since less remained than ever before: long means stalled.",
        "s",
        Query(f"time() - {_chosen('last_progress_timestamp_seconds')}", "{{domain}}"),
    ),
    graph(
        "Rough time to go",
        "What remains by the rate gained on the guest; a day while nothing is gained.",
        "s",
        Query(f"clamp_max({_REMAINING} / clamp_min({_RATE} - {_DIRTY}, 1), 86400)", "{{domain}}"),
        scale=LOG,
    ),
    graph(
        "Time limit",
        "Time until the limit of a migration is over and its policy acts.",
        "s",
        Query(f"{_chosen('deadline_timestamp_seconds')} - time()", "{{domain}}"),
    ),
    _drawn("Disks that remain", "What still has to be copied, and the size of the disks."),
    _drawn("Disks copied", "Rate at which disks are copied."),
)
_PLACED: Final = {panel.title for panel in _GUESTS}
_OTHERS: Final = tuple(
    _drawn(title)
    for title in dict.fromkeys(figure.panel for figure in FIGURES if figure.panel)
    if title not in _PLACED
)
"""Figures that nobody has given a place yet."""


def _once(name: str) -> str:
    """A final figure of an outgoing migration, at the first point after its end only."""
    figure = f"pmigd_recent_migration_{name}{{@}}"
    return (
        f"({figure} unless {figure} offset $__interval) * on (job, instance, migration)"
        f" group_left (domain) pmigd_recent_migration_info{{@, {OUT}}}"
    )


_OUTCOME: Final = (
    migrations.ended(
        "Migrations that ended",
        "Those that ended in this range, as far as a scrape saw them.",
        "@",
        Column("Direction", "direction"),
        Column("Peer", "peer"),
    ),
    graph(
        "Duration and pause of each",
        "A point for each outgoing migration, when it had ended.",
        "s",
        Query(_once("duration_seconds"), "{{domain}} duration"),
        Query(_once("downtime_seconds"), "{{domain}} pause"),
        style="points",
        scale=LOG,
    ),
    graph(
        "Throughput",
        "Bytes of guests that cross the network, by direction and kind.",
        "binBps",
        Query(
            "sum by (direction, kind)"
            " (rate(pmigd_migration_transferred_bytes_total{@}[$__rate_interval]))",
            "{{direction}} {{kind}}",
        ),
    ),
    graph(
        "Pages",
        "Memory pages sent per second, and those that post-copy was asked for.",
        "cps",
        Query("rate(pmigd_migration_pages_total{@}[$__rate_interval])", "{{kind}}"),
        Query("rate(pmigd_migration_postcopy_requests_total{@}[$__rate_interval])", "asked for"),
    ),
)

_LIMITS: Final = (
    graph(
        "Clients of libvirt's daemon",
        "All that are there, those that migrations hold, and how many it takes.",
        "none",
        Query("pmigd_libvirtd_clients{@}", "clients"),
        Query("pmigd_reserved_clients{@}", "of migrations"),
        Query("pmigd_libvirtd_clients_limit{@}", "limit"),
        scale=SYMLOG,
        whole=True,
    ),
    graph(
        "Workers of libvirt's daemon",
        "Those inside a call, those that migrations hold, and how many it may start.",
        "none",
        Query("pmigd_libvirtd_workers{@} - pmigd_libvirtd_workers_free{@}", "busy"),
        Query("pmigd_reserved_workers{@}", "of migrations"),
        Query("pmigd_libvirtd_workers_limit{@}", "limit"),
        whole=True,
    ),
    graph(
        "Calls that wait for a worker",
        "More than none for long means that the workers do not suffice.",
        "none",
        Query("pmigd_libvirtd_job_queue_length{@}", "waiting"),
        whole=True,
    ),
    graph(
        "What the queue waits for",
        "What the first in the queue waits for.",
        "none",
        Query("pmigd_admission_waiting{@} > 0", "{{resource}}"),
        whole=True,
    ),
    graph(
        "Leases",
        "Incoming are those that this host gives, outgoing those that it has of its peers.",
        "none",
        Query("pmigd_leases{@}", "{{direction}} {{state}}"),
        whole=True,
    ),
    graph(
        "Peers that answer",
        "0 for a peer whose pmigd did not answer when it was last asked for a lease.",
        "none",
        Query("pmigd_peer_up{@}", "{{peer}}"),
        whole=True,
    ),
)

_DAEMON: Final = (
    graph(
        "Lateness of the event loop, p99",
        "How much later than planned it came to its work.",
        "s",
        Query(
            "histogram_quantile(0.99, sum by (le)"
            " (rate(pmigd_event_loop_lag_seconds_bucket{@}[$__rate_interval])))",
            "p99",
        ),
    ),
    heatmap(
        "Lateness of the event loop",
        "How much later than planned it came to its work.",
        "pmigd_event_loop_lag_seconds",
    ),
    graph(
        "Threads in use",
        "Threads inside a call by how many there may be, for each pool.",
        "percentunit",
        Query("pmigd_executor_threads_busy{@} / pmigd_executor_threads_limit{@}", "{{pool}}"),
        whole=True,
        up_to=1,
    ),
    graph(
        "Calls that wait for a thread",
        "For each pool.",
        "none",
        Query("pmigd_executor_queue_length{@}", "{{pool}}"),
        whole=True,
    ),
    graph(
        "Calls of libvirt",
        "Calls per second.",
        "ops",
        Query(
            "rate(pmigd_libvirt_call_duration_seconds_count{@}[$__rate_interval])",
            "{{call}}",
        ),
    ),
    graph(
        "Time of a call",
        "Mean time of the calls of libvirt, waiting for a thread included.",
        "s",
        Query(
            "rate(pmigd_libvirt_call_duration_seconds_sum{@}[$__rate_interval])"
            " / (rate(pmigd_libvirt_call_duration_seconds_count{@}[$__rate_interval]) > 0)",
            "{{call}}",
        ),
    ),
    graph(
        "Failed calls",
        "Calls of libvirt per second that failed or did not come back in time.",
        "ops",
        Query("rate(pmigd_libvirt_call_errors_total{@}[$__rate_interval]) > 0", "{{call}}"),
    ),
    graph(
        "API requests",
        "Answers per second by status.",
        "reqps",
        Query(
            "sum by (code) (rate(pmigd_api_requests_total{@}[$__rate_interval]))",
            "{{code}}",
        ),
    ),
    graph(
        "Time to answer, p95",
        "By route. Requests that wait or stream take as long as they were asked to.",
        "s",
        Query(
            "histogram_quantile(0.95, sum by (route, le)"
            " (rate(pmigd_api_request_duration_seconds_bucket{@}[$__rate_interval])))",
            "{{route}}",
        ),
    ),
)

_SMALL: Final = (
    graph(
        "Log",
        "Lines in the few scrapes before each bar, by level.",
        "none",
        Query(
            "increase(pmigd_log_messages_total{@}[$__rate_interval])",
            "{{level}}",
        ),
        style="bars",
        stacked=True,
        whole=True,
        colors={"debug": GREY, "info": BLUE, "warning": ORANGE, "error": RED, "critical": PURPLE},
    ),
    graph("Memory", "Resident memory.", "bytes", Query("process_resident_memory_bytes{@}", "RSS")),
    graph(
        "CPU",
        "CPUs that pmigd keeps busy.",
        "percentunit",
        Query("rate(process_cpu_seconds_total{@}[$__rate_interval])", "CPU"),
    ),
    graph(
        "File descriptors",
        "Those that are open.",
        "none",
        Query("process_open_fds{@}", "open"),
        whole=True,
    ),
)


def text() -> str:
    """The dashboard."""
    chosen = '{job=~"$job", instance=~"$instance"}'
    return dashboard(
        "pmigd-host",
        "pmigd / Host",
        "Live migration on one host, and the guests that move.",
        (
            Variable("job", "label_values(pmigd_build_info, job)"),
            Variable(
                "instance", 'label_values(pmigd_build_info{job=~"$job"}, instance)', multi=False
            ),
            Variable("domain", f"label_values(pmigd_migration_info{chosen}, domain)"),
        ),
        (
            migrations.FAILED,
            Annotation(
                "Ends of migrations",
                "1000 * pmigd_recent_migration_end_timestamp_seconds{@} * on (job, instance,"
                " migration) group_left (domain, result)"
                ' pmigd_recent_migration_info{@, domain=~"$domain"}',
                "{{domain}} {{result}}",
                BLUE,
                at_value=True,
                shown=False,
            ),
        ),
        {
            "At a glance": _HEAD,
            "Guests that move": (*_GUESTS, *_OTHERS),
            "Outcome": _OUTCOME,
            "Limits": _LIMITS,
            "pmigd": (*_DAEMON, *(sized(panel, width=6) for panel in _SMALL)),
        },
    )
