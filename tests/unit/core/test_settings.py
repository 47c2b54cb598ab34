"""What a change of settings makes of a request."""

from __future__ import annotations

from pmigd.core.model import Compression, Request
from pmigd.core.ports import Settings
from pmigd.core.settings import both, changed, each

REQUEST = Request("web1", "hostb")


def test_only_what_is_given_changes_and_the_note_says_what() -> None:
    request, note = changed(REQUEST, Settings(max_downtime_ms=200, bandwidth_mib_s=0), 60)
    assert (request.max_downtime_ms, request.bandwidth_mib_s, request.timeout_s) == (200, 0, 60)
    assert note == "max downtime 200 ms, bandwidth unlimited, timeout 60 s"
    assert changed(REQUEST, Settings(), None) == (REQUEST, "")


def test_a_cache_alone_does_not_turn_compression_on() -> None:
    cache = Settings(compression_cache_bytes=1 << 20)
    assert changed(REQUEST, cache, None)[0].compression is None
    compressed = Request("web1", "hostb", compression=Compression())
    request = changed(compressed, cache, None)[0]
    assert request.compression == Compression(xbzrle_cache_bytes=1 << 20)


def test_settings_are_taken_apart_and_put_together_again() -> None:
    whole = Settings(max_downtime_ms=1, postcopy_bandwidth_mib_s=0)
    parts = list(each(whole))
    assert parts == [Settings(max_downtime_ms=1), Settings(postcopy_bandwidth_mib_s=0)]
    assert both(*parts) == whole
