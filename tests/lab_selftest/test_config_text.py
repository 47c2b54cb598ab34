"""Configuration files the lab writes."""

from __future__ import annotations

import tomllib

import pytest

from contrib.lab.config_text import libvirt_conf, merge, toml


def test_what_is_written_is_read_back() -> None:
    document = {
        "top": 1,
        "daemon": {"name": 'ho"st\\a ü', "level": 1.5, "on": True},
        "peers": {"host.b": {"uri": "qemu+tcp://hostb/system"}, "hostc": {}},
        "list": {"of": ["a", 2, {"b": [False]}]},
    }
    assert tomllib.loads(toml(document)) == document


def test_merging_reaches_into_tables_only() -> None:
    base = {"limits": {"a": 1, "b": [1]}, "x": 1}
    assert merge(base, {"limits": {"b": [2]}}) == {"limits": {"a": 1, "b": [2]}, "x": 1}
    assert base["limits"] == {"a": 1, "b": [1]}


def test_libvirt_has_no_booleans() -> None:
    assert libvirt_conf({"listen_tls": False, "user": "root", "x": ["a", "b"]}) == (
        'listen_tls = 0\nuser = "root"\nx = ["a", "b"]\n'
    )


def test_a_type_it_does_not_know_is_an_error() -> None:
    with pytest.raises(TypeError):
        toml({"a": None})
