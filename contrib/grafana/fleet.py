"""pmigd-fleet.json: all hosts at a glance."""

from __future__ import annotations

from typing import Final

from contrib.grafana import migrations
from contrib.grafana.migrations import OUT
from contrib.grafana.model import (
    RED,
    Column,
    Query,
    Variable,
    dashboard,
    graph,
    heatmap,
    sized,
    stat,
    table,
)
from pmigd.adapters.metrics.labels import RESULTS

_FINISHED: Final = f"increase(pmigd_migrations_finished_total{{@, {OUT}}}[$__range])"
_PAUSES: Final = "increase(pmigd_migration_downtime_seconds_bucket{@}[$__range])"
_MOVED: Final = "pmigd_migration_transferred_bytes_total"
_HOST: Final = "pmigd-host"

_HEAD: Final = (
    stat(
        "Hosts",
        "Hosts that Prometheus asks, and those of them whose pmigd does not answer.",
        "none",
        Query("count(up{@})", "all"),
        Query("count(up{@}) - sum(up{@})", "away"),
        red={"away": 1},
    ),
    stat(
        "Active",
        "Migrations that run now, each counted at its source.",
        "none",
        Query(f"sum(pmigd_migrations_active{{@, {OUT}}})", "active"),
    ),
    stat(
        "Queued",
        "Migrations that wait for their start.",
        "none",
        Query("sum(pmigd_migrations_queued{@})", "queued"),
    ),
    stat(
        "Finished",
        "Migrations that ended in this range.",
        "none",
        Query(f"sum({_FINISHED})", "finished"),
        decimals=0,
    ),
    stat(
        "Succeeded",
        "Share of those that ended in this range, without cancelled ones.",
        "percentunit",
        Query(
            f'sum(increase(pmigd_migrations_finished_total{{@, {OUT}, result="completed"}}'
            f"[$__range])) / (sum(increase(pmigd_migrations_finished_total{{@, {OUT},"
            ' result!="cancelled"}[$__range])) > 0)',
            "succeeded",
        ),
        decimals=0,
    ),
    stat(
        "Pause, p95",
        "95 of 100 guests were paused for no longer, in this range.",
        "s",
        Query(f"histogram_quantile(0.95, sum by (le) ({_PAUSES}))", "p95"),
    ),
    stat(
        "Moved",
        "Bytes of guests that left the hosts in this range.",
        "bytes",
        Query(f"sum(increase({_MOVED}{{@, {OUT}}}[$__range]))", "moved"),
    ),
    stat(
        "Unresolved",
        "Migrations whose outcome nobody knows: see the runbook. Touch neither copy.",
        "none",
        Query("sum(pmigd_migrations_unresolved{@})", "unresolved"),
        red={"unresolved": 1},
    ),
)

_FLOW: Final = (
    graph(
        "Active by host",
        "Outgoing migrations that run.",
        "none",
        Query(f"sum by (instance) (pmigd_migrations_active{{@, {OUT}}})", "{{instance}}"),
        stacked=True,
        whole=True,
    ),
    graph(
        "Queued by host",
        "Migrations that wait for their start.",
        "none",
        Query("pmigd_migrations_queued{@}", "{{instance}}"),
        stacked=True,
        whole=True,
    ),
    graph(
        "Finished by result",
        "Outgoing migrations that ended, in the few scrapes before each bar.",
        "none",
        Query(
            "sum by (result) (increase(pmigd_migrations_finished_total"
            f"{{@, {OUT}}}[$__rate_interval]))",
            "{{result}}",
        ),
        stacked=True,
        style="bars",
        whole=True,
        colors={result: migrations.COLORS[result] for result in RESULTS},
    ),
    graph(
        "Failures by reason",
        "Outgoing migrations that failed, in the few scrapes before each bar.",
        "none",
        Query(
            "sum by (reason) (increase(pmigd_migration_failures_total"
            f"{{@, {OUT}}}[$__rate_interval])) > 0",
            "{{reason}}",
        ),
        stacked=True,
        style="bars",
        whole=True,
        shades=RED,
    ),
    graph(
        "Throughput by host",
        "Bytes of guests that leave each host.",
        "binBps",
        Query(
            f"sum by (instance) (rate({_MOVED}{{@, {OUT}}}[$__rate_interval]))",
            "{{instance}}",
        ),
        stacked=True,
    ),
    graph(
        "Throughput by kind",
        "Bytes of memory and of disks that leave the hosts.",
        "binBps",
        Query(f"sum by (kind) (rate({_MOVED}{{@, {OUT}}}[$__rate_interval]))", "{{kind}}"),
        stacked=True,
    ),
)


def _live(name: str) -> str:
    # The product drops the name of the metric, which would keep the rows apart.
    return (
        f"pmigd_migration_{name}{{@}} * on (job, instance, domain)"
        f" max by (job, instance, domain) (pmigd_migration_info{{@, {OUT}}})"
    )


_LISTS: Final = (
    sized(
        table(
            "Active migrations",
            "Outgoing migrations that run or are unresolved; those have no phase.",
            Column("", f"pmigd_migration_info{{@, {OUT}}}", "none"),
            Column(
                "",
                "max by (job, instance, domain, phase) (pmigd_migration_phase{@} == 1) * on (job,"
                f" instance, domain) group_left () pmigd_migration_info{{@, {OUT}}}",
                "none",
            ),
            Column("Guest", "domain"),
            Column("From", "instance", links_to=_HOST),
            Column("To", "peer"),
            Column("Phase", "phase"),
            Column("Memory to go", _live("memory_remaining_bytes"), "bytes"),
            Column("Disks to go", _live("disk_remaining_bytes"), "bytes"),
            Column("Sent", _live("memory_transfer_bytes_per_second"), "binBps"),
            Column("Dirtied", _live("memory_dirty_bytes_per_second"), "binBps"),
            Column("Age", f"time() - ({_live('start_timestamp_seconds')})", "s"),
            Column("Transport", "transport"),
            Column("Migration", "migration"),
        ),
        height=7,
    ),
    migrations.ended(
        "Recent migrations",
        "Outgoing migrations that ended in this range, as far as a scrape saw them.",
        f"@, {OUT}",
        Column("From", "instance", links_to=_HOST),
        Column("To", "peer"),
    ),
)

_OUTCOME: Final = (
    heatmap(
        "Pause",
        "How long guests were stopped, as measured.",
        "pmigd_migration_downtime_seconds",
        exemplars=True,
    ),
    heatmap("Duration", "From start to end.", "pmigd_migration_duration_seconds", exemplars=True),
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
        "Share of the guests that were stopped for no longer, within the range before each point.",
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
        up_to=1,
    ),
    graph(
        "Wait in the queue, p95",
        "95 of 100 migrations waited no longer, within the range before each point.",
        "s",
        Query(
            "histogram_quantile(0.95, sum by (instance, le) "
            "(increase(pmigd_migration_queue_wait_seconds_bucket{@}[$__range])))",
            "{{instance}}",
        ),
    ),
    graph(
        "Actions",
        "What was done to running migrations to bring them to an end, in the few scrapes before"
        " each bar.",
        "none",
        Query(
            "sum by (action) (increase(pmigd_migration_actions_total{@}[$__rate_interval])) > 0",
            "{{action}}",
        ),
        stacked=True,
        style="bars",
        whole=True,
    ),
)

_LIMITS: Final = (
    graph(
        "Slots in use",
        "Running migrations by what may run at once.",
        "percentunit",
        Query(
            "pmigd_migrations_active{@} / (pmigd_migrations_limit{@} > 0)",
            "{{instance}} {{direction}}",
        ),
        whole=True,
        up_to=1,
    ),
    graph(
        "What the queues wait for",
        "Hosts whose first in the queue waits for it.",
        "none",
        Query("sum by (resource) (pmigd_admission_waiting{@}) > 0", "{{resource}}"),
        stacked=True,
        whole=True,
    ),
    graph(
        "Peers that do not answer",
        "Peers whose pmigd did not answer this host when it last asked for a lease.",
        "none",
        Query(
            "count by (instance) (pmigd_peer_up{@}) - sum by (instance) (pmigd_peer_up{@})",
            "{{instance}}",
        ),
        stacked=True,
        whole=True,
    ),
    graph(
        "Clients of libvirt's daemon, top 10",
        "Clients by how many it takes.",
        "percentunit",
        Query(
            "topk(10, pmigd_libvirtd_clients{@} / pmigd_libvirtd_clients_limit{@})", "{{instance}}"
        ),
        up_to=1,
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
        whole=True,
        up_to=1,
    ),
    graph(
        "Calls that wait for a worker",
        "More than none for long means that the workers do not suffice.",
        "none",
        Query("pmigd_libvirtd_job_queue_length{@}", "{{instance}}"),
        whole=True,
    ),
)

_VERSIONS: Final = (
    sized(
        table(
            "Versions",
            "What runs where.",
            Column("", "pmigd_build_info{@}", "none"),
            # The product drops the name of the metric, which would keep the rows apart.
            Column("", "1 * pmigd_libvirt_info{@}", "none"),
            Column("Host", "instance", links_to=_HOST),
            Column("pmigd", "version"),
            Column("Python", "python"),
            Column("libvirt client", "libvirt_client"),
            Column("libvirt daemon", "daemon_version"),
            Column("Hypervisor", "hypervisor"),
            Column("Its version", "hypervisor_version"),
        ),
        height=6,
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
        (migrations.FAILED,),
        {
            "At a glance": _HEAD,
            "Flow": _FLOW,
            "Migrations": _LISTS,
            "Outcome": _OUTCOME,
            "Limits": _LIMITS,
            "Hosts": _VERSIONS,
        },
    )
