"""What heartbeats prove, without a guest."""

from __future__ import annotations

import pytest

from contrib.lab import Heartbeats, LabError


def frame(tick: int, errors: int = 0) -> bytes:
    body = [tick >> (7 * i) & 0x7F for i in range(4)] + [errors >> (7 * i) & 0x7F for i in range(2)]
    check = 0
    for byte in body:
        check ^= byte
    return bytes([0x80, *body, check])


def heard(*beats: tuple[float, int, str]) -> Heartbeats:
    heartbeats = Heartbeats("g", 50)
    for at, tick, host in beats:
        for byte in frame(tick):
            heartbeats.feed(bytes([byte]), host, at)
    return heartbeats


def test_byte_by_byte_frames_are_read() -> None:
    heartbeats = heard((1.0, 1, "a"), (1.02, 2_000_000, "a"))
    assert [beat.tick for beat in heartbeats.beats()] == [1, 2_000_000]
    assert heartbeats.memory_ok


def test_a_frame_cut_in_two_by_a_move_is_one_heartbeat_of_the_new_host() -> None:
    heartbeats = Heartbeats("g", 50)
    heartbeats.feed(frame(1) + frame(2)[:3], "a", 1.0)
    heartbeats.feed(frame(2)[3:] + frame(3), "b", 1.1)
    assert [(beat.tick, beat.host) for beat in heartbeats.beats()] == [(1, "a"), (2, "b"), (3, "b")]
    assert (heartbeats.garbled, heartbeats.missing) == (0, 0)


def test_a_lost_byte_spoils_one_frame_only() -> None:
    heartbeats = Heartbeats("g", 50)
    broken = frame(2)
    for data in (frame(1), broken[:3] + broken[4:], frame(3)):
        heartbeats.feed(data, "a", 1.0)
    assert [beat.tick for beat in heartbeats.beats()] == [1, 3]
    assert (heartbeats.garbled, heartbeats.missing) == (1, 1)


def test_a_changed_byte_is_noticed() -> None:
    heartbeats = Heartbeats("g", 50)
    data = bytearray(frame(1))
    data[5] ^= 1
    heartbeats.feed(bytes(data), "a", 1.0)
    assert (heartbeats.count, heartbeats.garbled) == (0, 1)
    assert not heartbeats.memory_ok  # never heard is not proven well


def test_errors_make_memory_not_ok() -> None:
    heartbeats = Heartbeats("g", 50)
    heartbeats.feed(frame(1, 300), "a", 1.0)
    assert heartbeats.errors == 300
    assert not heartbeats.memory_ok


def test_two_copies_at_once_show_as_duplicates_and_alternating_hosts() -> None:
    heartbeats = heard((1.0, 1, "a"), (1.1, 2, "a"), (1.11, 2, "b"), (1.2, 3, "a"), (1.21, 3, "b"))
    assert heartbeats.duplicated == 2
    assert heartbeats.hosts == ["a", "b", "a", "b"]


def test_a_reboot_shows_as_a_restart_and_a_set_back_guest_does_not() -> None:
    assert heard((1.0, 900, "a"), (2.0, 1, "b")).restarts == 1
    set_back = heard((1.0, 900, "a"), (2.0, 800, "b"))
    assert (set_back.restarts, set_back.went_back) == (0, 1)


def test_the_gap_counts_the_silence_at_both_edges() -> None:
    heartbeats = heard((1.0, 1, "a"), (1.5, 2, "a"), (1.6, 3, "b"))
    assert heartbeats.longest_gap(until=1.7).seconds == pytest.approx(0.5)
    assert heartbeats.longest_gap(until=9.6).seconds == pytest.approx(8.0)
    assert heartbeats.longest_gap(since=0.1, until=1.7).seconds == pytest.approx(0.9)


def test_waiting_in_vain_says_what_was_heard_last() -> None:
    with pytest.raises(LabError, match="tick=2"):
        heard((1.0, 2, "a")).wait(timeout=0.05)
