"""What settings make of a request, and how they are told."""

from __future__ import annotations

from dataclasses import fields

from pmigd.core.commands import SETTINGS
from pmigd.core.model import Compression, Request, Settings
from pmigd.core.settings import changed, given, of_request

REQUEST = Request("web1", "hostb")


def test_only_what_is_given_changes_and_is_told() -> None:
    settings = Settings(max_downtime_ms=200, bandwidth_mib_s=0)
    request = changed(REQUEST, settings)
    assert (request.max_downtime_ms, request.bandwidth_mib_s) == (200, 0)
    words = [words for _, _, words in given(settings)]
    assert words == ["max downtime 200 ms", "bandwidth unlimited"]
    assert changed(REQUEST, Settings()) == REQUEST


def test_a_cache_alone_does_not_turn_compression_on() -> None:
    cache = Settings(compression_cache_bytes=1 << 20)
    assert changed(REQUEST, cache).compression is None
    request = changed(Request("web1", "hostb", compression=Compression()), cache)
    assert request.compression == Compression(xbzrle_cache_bytes=1 << 20)
    assert of_request(request).compression_cache_bytes == 1 << 20


def test_every_setting_is_a_kind_of_command() -> None:
    assert {field.name for field in fields(Settings)} == {kind.value for kind in SETTINGS}
