"""pmigd-host.json: one host, and the guests that move."""

from __future__ import annotations

from typing import Final

from contrib.grafana.model import Query, Variable, dashboard, graph, heatmap, stat, states

_HEAD: Final = (
    stat("libvirt up", "1 while the connection to libvirt stands.", "none", "pmigd_libvirt_up{@}"),
    stat(
        "Active out",
        "Migrations that leave this host now.",
        "none",
        'pmigd_migrations_active{@, direction="outgoing"}',
    ),
    stat(
        "Active in",
        "Migrations that arrive now.",
        "none",
        'pmigd_migrations_active{@, direction="incoming"}',
    ),
    stat("Queued", "Migrations that wait for their start.", "none", "pmigd_migrations_queued{@}"),
    stat(
        "Free slots out",
        "Further migrations that may leave.",
        "none",
        'pmigd_migrations_limit{@, direction="outgoing"} - pmigd_migrations_active{@}',
    ),
    stat(
        "Free slots in",
        "Further migrations that may arrive.",
        "none",
        'pmigd_migrations_limit{@, direction="incoming"} - pmigd_migrations_active{@}',
    ),
    stat(
        "Unresolved",
        "Migrations whose outcome nobody knows: see the runbook. Touch neither copy.",
        "none",
        "pmigd_migrations_unresolved{@}",
        red_from=1,
    ),
    stat(
        "Configuration read",
        "Time since the configuration was last read with success.",
        "s",
        "time() - pmigd_config_last_reload_success_timestamp_seconds{@}",
    ),
    stat(
        "Certificate ends in",
        "Time until the first certificate ends that this host shows: red for the last two weeks.",
        "s",
        "min(pmigd_tls_certificate_not_after_timestamp_seconds{@}) - time()",
        red_below=14 * 86400,
    ),
    stat(
        "Journal",
        "1 while the journal of migrations can be written; nothing starts without it.",
        "none",
        "pmigd_journal_writable{@}",
        red_below=1,
    ),
)


def _of(name: str, legend: str = "") -> Query:
    """A gauge of the chosen guests."""
    words = f"{{{{domain}}}} {legend}".strip()
    return Query(f'pmigd_migration_{name}{{@, domain=~"$domain"}}', words)


_DIRTY: Final = 'pmigd_migration_memory_dirty_bytes_per_second{@, domain=~"$domain"}'
_RATE: Final = 'pmigd_migration_memory_transfer_bytes_per_second{@, domain=~"$domain"}'
_REMAINING: Final = 'pmigd_migration_memory_remaining_bytes{@, domain=~"$domain"}'

_GUESTS: Final = (
    graph(
        "Memory that remains",
        "What still has to be sent in this pass, and the size of the guest's memory.",
        "bytes",
        _of("memory_remaining_bytes", "remains"),
        _of("memory_size_bytes", "size"),
    ),
    graph(
        "Sent and dirtied",
        "A guest that writes faster than it is sent can still end, in its quieter moments.",
        "binBps",
        _of("memory_transfer_bytes_per_second", "sent"),
        _of("memory_dirty_bytes_per_second", "dirtied"),
        _of("bandwidth_limit_bytes_per_second", "limit"),
    ),
    graph(
        "Dirtied by sent",
        "Below 100% each pass is shorter than the one before.",
        "percentunit",
        Query(f"{_DIRTY} / ({_RATE} > 0)", "{{domain}}"),
    ),
    graph(
        "Pause expected and allowed",
        "A forecast; the switch-over comes when it is below what is allowed.",
        "s",
        _of("expected_downtime_seconds", "expected"),
        _of("downtime_limit_seconds", "allowed"),
    ),
    graph("Pass over the memory", "The present pass.", "none", _of("memory_iteration")),
    graph(
        "CPU time taken",
        "Share of CPU time that auto-converge takes from the guest.",
        "percentunit",
        _of("cpu_throttle_ratio"),
    ),
    states(
        "Phase",
        "What each migration is doing.",
        Query(
            'pmigd_migration_phase{@, domain=~"$domain"} == 1',
            "{{domain}} {{phase}}",
        ),
    ),
    graph(
        "Since the last progress",
        "Time since less remained than ever before: long means stalled.",
        "s",
        Query(
            'time() - pmigd_migration_last_progress_timestamp_seconds{@, domain=~"$domain"}',
            "{{domain}}",
        ),
    ),
    graph(
        "Rough time to go",
        "What remains by the rate gained on the guest; far too long while nothing is gained.",
        "s",
        Query(f"{_REMAINING} / clamp_min({_RATE} - {_DIRTY}, 1)", "{{domain}}"),
    ),
)

_OUTCOME: Final = (
    graph(
        "Recent durations and pauses",
        "Of migrations that ended within the last 15 minutes.",
        "s",
        Query("pmigd_recent_migration_duration_seconds{@}", "{{migration}} duration"),
        Query("pmigd_recent_migration_downtime_seconds{@}", "{{migration}} pause"),
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
    ),
    graph(
        "Workers of libvirt's daemon",
        "Those inside a call, those that migrations hold, and how many it may start.",
        "none",
        Query("pmigd_libvirtd_workers{@} - pmigd_libvirtd_workers_free{@}", "busy"),
        Query("pmigd_reserved_workers{@}", "of migrations"),
        Query("pmigd_libvirtd_workers_limit{@}", "limit"),
    ),
    graph(
        "Calls that wait for a worker",
        "More than none for long means that the workers do not suffice.",
        "none",
        Query("pmigd_libvirtd_job_queue_length{@}", "waiting"),
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
        "Threads",
        "Threads inside a call, and calls that wait for one.",
        "none",
        Query("pmigd_executor_threads_busy{@}", "{{pool}} busy"),
        Query("pmigd_executor_threads_limit{@}", "{{pool}} limit"),
        Query("pmigd_executor_queue_length{@}", "{{pool}} waiting"),
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
    graph(
        "Log",
        "Lines within each step, by level.",
        "none",
        Query(
            "increase(pmigd_log_messages_total{@}[$__rate_interval])",
            "{{level}}",
        ),
        bars=True,
        stacked=True,
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
        {
            "At a glance": _HEAD,
            "Guests that move": _GUESTS,
            "Outcome": _OUTCOME,
            "Limits": _LIMITS,
            "pmigd": _DAEMON,
        },
    )
