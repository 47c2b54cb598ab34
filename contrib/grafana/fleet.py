"""pmigd-fleet.json: all hosts at a glance."""

from __future__ import annotations

from typing import Final

from contrib.grafana.model import Query, Variable, dashboard, graph, heatmap, stat, table

_OUT: Final = 'direction="outgoing"'
_FINISHED: Final = f"increase(pmigd_migrations_finished_total{{@, {_OUT}}}[$__range])"
_PAUSES: Final = "increase(pmigd_migration_downtime_seconds_bucket{@}[$__range])"

_HEAD: Final = (
    stat("Hosts up", "Hosts whose pmigd answers Prometheus.", "none", "sum(up{@})"),
    stat("Hosts", "Hosts that Prometheus asks.", "none", "count(up{@})"),
    stat(
        "Active",
        "Migrations that run now, each counted at its source.",
        "none",
        f"sum(pmigd_migrations_active{{@, {_OUT}}})",
    ),
    stat(
        "Queued", "Migrations that wait for their start.", "none", "sum(pmigd_migrations_queued{@})"
    ),
    stat("Finished", "Migrations that ended in this range.", "none", f"sum({_FINISHED})"),
    stat(
        "Succeeded",
        "Share of those that ended in this range, without cancelled ones.",
        "percentunit",
        f'sum(increase(pmigd_migrations_finished_total{{@, {_OUT}, result="completed"}}[$__range]))'
        f' / (sum(increase(pmigd_migrations_finished_total{{@, {_OUT}, result!="cancelled"}}'
        "[$__range])) > 0)",
    ),
    stat(
        "Pause, p95",
        "95 of 100 guests were paused for no longer, in this range.",
        "s",
        f"histogram_quantile(0.95, sum by (le) ({_PAUSES}))",
    ),
    stat(
        "Unresolved",
        "Migrations whose outcome nobody knows: see the runbook. Touch neither copy.",
        "none",
        "sum(pmigd_migrations_unresolved{@})",
        red_from=1,
    ),
)

_FLOW: Final = (
    graph(
        "Active by host",
        "Outgoing migrations that run.",
        "none",
        Query(
            f"sum by (instance) (pmigd_migrations_active{{@, {_OUT}}})",
            "{{instance}}",
        ),
        stacked=True,
    ),
    graph(
        "Queued by host",
        "Migrations that wait for their start.",
        "none",
        Query("pmigd_migrations_queued{@}", "{{instance}}"),
        stacked=True,
    ),
    graph(
        "Finished by result",
        "Outgoing migrations that ended within each step.",
        "none",
        Query(
            "sum by (result) (increase(pmigd_migrations_finished_total"
            f"{{@, {_OUT}}}[$__rate_interval]))",
            "{{result}}",
        ),
        stacked=True,
        bars=True,
    ),
    graph(
        "Failures by reason",
        "Outgoing migrations that failed within each step.",
        "none",
        Query(
            "sum by (reason) (increase(pmigd_migration_failures_total"
            f"{{@, {_OUT}}}[$__rate_interval])) > 0",
            "{{reason}}",
        ),
        stacked=True,
        bars=True,
    ),
    graph(
        "Throughput by host",
        "Bytes of guests that leave each host.",
        "binBps",
        Query(
            "sum by (instance) (rate(pmigd_migration_transferred_bytes_total"
            f"{{@, {_OUT}}}[$__rate_interval]))",
            "{{instance}}",
        ),
        stacked=True,
    ),
    graph(
        "Throughput by kind",
        "Bytes of memory and of disks that leave the hosts.",
        "binBps",
        Query(
            "sum by (kind) (rate(pmigd_migration_transferred_bytes_total"
            f"{{@, {_OUT}}}[$__rate_interval]))",
            "{{kind}}",
        ),
        stacked=True,
    ),
)

_OUTCOME: Final = (
    heatmap(
        "Pause",
        "How long guests were stopped, as measured.",
        "pmigd_migration_downtime_seconds",
    ),
    heatmap("Duration", "From start to end.", "pmigd_migration_duration_seconds"),
    graph(
        "Pause by mode",
        "Of the migrations within the range before each point; they are too rare for less.",
        "s",
        *(
            Query(
                f"histogram_quantile({share}, sum by (le, mode) ({_PAUSES}))",
                f"p{round(share * 100)} {{{{mode}}}}",
            )
            for share in (0.5, 0.95, 0.99)
        ),
    ),
    graph(
        "Pause within 0.3 s and 1 s",
        "Share of the guests that were stopped for no longer.",
        "percentunit",
        *(
            Query(
                f'sum(increase(pmigd_migration_downtime_seconds_bucket{{@, le="{bound}"}}'
                "[$__range])) / (sum(increase(pmigd_migration_downtime_seconds_count{@}"
                "[$__range])) > 0)",
                f"within {bound} s",
            )
            for bound in (0.3, 1.0)
        ),
    ),
    graph(
        "Wait in the queue, p95",
        "95 of 100 migrations waited no longer for their start.",
        "s",
        Query(
            "histogram_quantile(0.95, sum by (instance, le) "
            "(increase(pmigd_migration_queue_wait_seconds_bucket{@}[$__range])))",
            "{{instance}}",
        ),
    ),
    graph(
        "Actions",
        "What was done to running migrations to bring them to an end, within each step.",
        "none",
        Query(
            "sum by (action) (increase(pmigd_migration_actions_total{@}[$__rate_interval])) > 0",
            "{{action}}",
        ),
        stacked=True,
        bars=True,
    ),
)


def _recent(name: str) -> str:
    return (
        f"last_over_time(pmigd_recent_migration_{name}{{@}}[$__range])"
        " * on (job, instance, migration) max by (job, instance, migration)"
        f" (last_over_time(pmigd_recent_migration_info{{@, {_OUT}}}[$__range]))"
    )


def _live(name: str) -> str:
    # The product drops the name of the metric, which would keep the rows apart.
    return (
        f"pmigd_migration_{name}{{@}} * on (job, instance, domain)"
        f" max by (job, instance, domain) (pmigd_migration_info{{@, {_OUT}}})"
    )


_PHASE: Final = (
    "max by (job, instance, domain, phase) (pmigd_migration_phase{@} == 1)"
    f" * on (job, instance, domain) group_left () pmigd_migration_info{{@, {_OUT}}}"
)
_LISTS: Final = (
    table(
        "Active migrations",
        "Outgoing migrations that run or are unresolved.",
        (
            ("", "none", f"pmigd_migration_info{{@, {_OUT}}}"),
            (
                "",
                "none",
                _PHASE,
            ),
            ("Remaining", "bytes", _live("memory_remaining_bytes")),
            ("Rate", "binBps", _live("memory_transfer_bytes_per_second")),
            ("Dirtied", "binBps", _live("memory_dirty_bytes_per_second")),
            ("Age", "s", f"time() - ({_live('start_timestamp_seconds')})"),
        ),
        hidden=("uuid", "direction"),
    ),
    table(
        "Recent migrations",
        "Outgoing migrations that ended in this range, as far as a scrape saw them.",
        (
            (
                "",
                "none",
                f"last_over_time(pmigd_recent_migration_info{{@, {_OUT}}}[$__range])",
            ),
            ("Duration", "s", _recent("duration_seconds")),
            ("Pause", "s", _recent("downtime_seconds")),
            ("Transferred", "bytes", _recent("transferred_bytes")),
        ),
        hidden=("direction",),
    ),
    table(
        "Versions",
        "What runs where.",
        (("", "none", "pmigd_build_info{@}"),),
    ),
)

_LIMITS: Final = (
    graph(
        "Slots in use",
        "Running migrations by what may run at once.",
        "percentunit",
        Query(
            "pmigd_migrations_active{@} / pmigd_migrations_limit{@}", "{{instance}} {{direction}}"
        ),
    ),
    graph(
        "Clients of libvirt's daemon, top 10",
        "Clients by how many it takes.",
        "percentunit",
        Query(
            "topk(10, pmigd_libvirtd_clients{@} / pmigd_libvirtd_clients_limit{@})", "{{instance}}"
        ),
    ),
    graph(
        "Workers of libvirt's daemon, top 10",
        "Busy workers by how many it may start.",
        "percentunit",
        Query(
            "topk(10, (pmigd_libvirtd_workers{@} - pmigd_libvirtd_workers_free{@})"
            " / pmigd_libvirtd_workers_limit{@})",
            "{{instance}}",
        ),
    ),
    graph(
        "Calls that wait for a worker",
        "More than none for long means that the workers do not suffice.",
        "none",
        Query("pmigd_libvirtd_job_queue_length{@}", "{{instance}}"),
    ),
)


def text() -> str:
    """The dashboard."""
    return dashboard(
        "pmigd-fleet",
        "pmigd / Fleet",
        "Live migration on all hosts.",
        (
            Variable("job", "label_values(pmigd_build_info, job)"),
            Variable("instance", 'label_values(pmigd_build_info{job=~"$job"}, instance)'),
        ),
        {
            "At a glance": _HEAD,
            "Flow": _FLOW,
            "Outcome": _OUTCOME,
            "Migrations": _LISTS,
            "Limits": _LIMITS,
        },
    )
