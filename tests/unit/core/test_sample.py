"""What a sample says about rates and the time that is left."""

from __future__ import annotations

import pytest

from pmigd.core.model import Sample
from tests.support.build import T0

MIB = 1 << 20


def disks(elapsed_ms: int, processed_mib: int, *, total_mib: int = 100, **figures: int) -> Sample:
    """Disks under way, as libvirt tells it: no rate of them."""
    return Sample(
        T0,
        elapsed_ms=elapsed_ms,
        disk_total_bytes=total_mib * MIB,
        disk_processed_bytes=processed_mib * MIB,
        disk_remaining_bytes=(total_mib - processed_mib) * MIB,
        **figures,
    )


def memory(remaining_mib: int, rate: int | None, dirty: int | None = None) -> Sample:
    return Sample(
        T0,
        memory_total_bytes=100 * MIB,
        memory_remaining_bytes=remaining_mib * MIB,
        memory_bytes_per_second=rate,
        dirty_bytes_per_second=dirty,
    )


class TestRateOfDisks:
    def test_the_first_one_is_the_mean_since_the_job_began(self) -> None:
        assert disks(2000, 10).after(None).disk_bytes_per_second == 5 * MIB

    def test_stays_what_it_is_while_disks_are_copied_evenly(self) -> None:
        sample = disks(1000, 8).after(None)
        for second in range(2, 10):
            sample = disks(second * 1000, 8 * second).after(sample)
            assert sample.disk_bytes_per_second == 8 * MIB

    def test_bursts_are_evened_out_and_a_change_is_followed(self) -> None:
        sample = disks(1000, 10).after(None)
        still = disks(1500, 10).after(sample)
        assert still.disk_bytes_per_second == 9 * MIB
        for step in range(1, 60):
            still = disks(1500 + 500 * step, 10).after(still)
        assert (still.disk_bytes_per_second or 0) < MIB / 10

    def test_is_nothing_at_once_when_all_is_copied(self) -> None:
        done = disks(3000, 100).after(disks(2500, 90).after(None))
        assert done.disk_bytes_per_second == 20 * MIB
        assert disks(3500, 100).after(done).disk_bytes_per_second == 0

    def test_of_another_job_means_nothing_for_this_one(self) -> None:
        earlier = disks(60_000, 90).after(None)
        assert disks(1000, 3).after(earlier).disk_bytes_per_second == 3 * MIB

    def test_libvirts_own_figure_is_left_alone(self) -> None:
        told = disks(1000, 10, disk_bytes_per_second=7)
        assert told.after(None) is told

    def test_without_disks_or_time_there_is_none(self) -> None:
        for sample in (memory(50, 1), disks(0, 10)):
            assert sample.after(None).disk_bytes_per_second is None


@pytest.mark.parametrize(
    ("of_memory", "of_disks", "both"), [(None, None, None), (3, None, 3), (None, 0, 0), (3, 4, 7)]
)
def test_the_rate_is_memory_and_disks_together(of_memory, of_disks, both) -> None:
    sample = Sample(T0, memory_bytes_per_second=of_memory, disk_bytes_per_second=of_disks)
    assert sample.bytes_per_second == both


class TestTimeLeft:
    @pytest.mark.parametrize(
        ("sample", "eta_s"),
        [
            (memory(50, 10 * MIB), 5.0),
            (memory(50, 10 * MIB, 5 * MIB), 10.0),
            (memory(50, 10 * MIB, 10 * MIB), None),
            (memory(50, 100 * MIB, 96 * MIB), None),
            (memory(50, None), None),
            (Sample(T0), None),
        ],
        ids=[
            "memory",
            "net of what is dirtied",
            "never",
            "as good as never",
            "no rate yet",
            "nothing known",
        ],
    )
    def test_of_memory(self, sample: Sample, eta_s: float | None) -> None:
        assert sample.eta_s == eta_s

    def test_of_disks_is_their_own_rate_whatever_the_guest_dirties(self) -> None:
        assert disks(2000, 20, dirty_bytes_per_second=900 * MIB).after(None).eta_s == 8.0

    def test_is_not_in_sight_while_the_disks_stand_still(self) -> None:
        assert disks(2000, 0).after(None).eta_s is None

    def test_with_both_under_way_is_the_longer_one(self) -> None:
        figures = {
            "memory_total_bytes": 10 * MIB,
            "memory_remaining_bytes": 10 * MIB,
            "memory_bytes_per_second": 5 * MIB,
        }
        assert disks(1000, 10, **figures).after(None).eta_s == 9.0
        assert disks(1000, 99, **figures).after(None).eta_s == 2.0
