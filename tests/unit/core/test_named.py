"""What a guest names and the destination lacks: one finding for each, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pmigd.core.facts import Definition, DiskFacts, Question
from pmigd.core.finding import Finding, Level, blocking
from pmigd.core.model import CopyStorage, Domain
from pmigd.core.named import KINDS, Asked, Named, asked, paths
from pmigd.core.problem import Code
from tests.unit.core.test_checks import (
    PLAIN,
    answer,
    at_destination,
    found_at_destination,
    local,
)

SECRET = Named("secret", "u-1", "disk vda")
KERNEL = Named("file", "/boot/k", "kernel")
BASE = Named("backing", "/i/base.qcow2", "disk vda")
LISTEN = Named("address", "10.0.0.1", "vnc console")
FUTURE = Named("hologram", "x", "a later version")


def missing(*things: Named) -> list[Finding]:
    """What is said where the destination has none of these."""
    own = local(lacks=things, paths_missing=paths(things))
    return found_at_destination(replace(PLAIN, named=things), answer(lacks=things), own=own)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_that_is_missing_says_what_and_whose(kind: str) -> None:
    row = KINDS[kind]
    (found,) = missing(Named(kind, "/a/name", "whose"))
    assert (found.code, found.field) == (row.finding.code, "destination")
    assert found.level is (Level.BLOCK if row.sure else Level.WARN) or kind == "node"
    assert "/a/name" in found.detail
    assert found.detail.endswith(".")
    assert found.remedy.endswith(".")
    assert "{" not in found.detail + found.remedy


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_there_is_no_finding(kind: str) -> None:
    wants = replace(PLAIN, named=(Named(kind, "/a/name", "whose"),))
    assert at_destination(wants, own=local()) == {}


def test_what_is_asked_of_whom() -> None:
    named = (SECRET, KERNEL, LISTEN, FUTURE, BASE)
    assert paths(named) == ("/boot/k", "/i/base.qcow2")
    assert list(asked(named, Asked.LIBVIRT)) == [SECRET]
    assert list(asked(named, Asked.HOST)) == [LISTEN]
    question = Question(Domain("web", ""), wants=Definition(named=named, disks=(_disk(),)))
    assert question.images == ("/i/a.qcow2",)
    assert question.paths == ("/i/a.qcow2", "/boot/k", "/i/base.qcow2")


def test_a_kind_of_a_later_version_is_passed_over() -> None:
    assert missing(FUTURE) == []


def test_alone_it_fails_the_start_with_its_own_code() -> None:
    for thing, code in (
        (SECRET, Code.SECRET_MISSING),
        (Named("network", "n"), Code.NETWORK_MISSING),
        (Named("pool", "p"), Code.POOL_MISSING),
        (Named("active_pool", "p"), Code.CHECK_FAILED),
        (Named("link", "br0"), Code.CHECK_FAILED),
        (Named("listener", "0.0.0.0:5900", "vnc console"), Code.PORT_IN_USE),
    ):
        problem = blocking(missing(thing))
        assert problem is not None
        assert problem.code is code
        assert not problem.retryable


def test_both_of_the_destinations_answers_count() -> None:
    wants = replace(PLAIN, named=(SECRET, KERNEL, LISTEN))
    own = local(lacks=(LISTEN,), paths_missing=("/boot/k",))
    found = at_destination(wants, answer(lacks=(SECRET,)), own=own)
    assert found == {
        "secret_missing": Level.BLOCK,
        "file_missing": Level.BLOCK,
        "address_missing": Level.BLOCK,
    }
    assert at_destination(wants, own=local()) == {}
    assert at_destination(wants, answer(lacks=(SECRET,)), own=own, offline=True) == {}


def test_without_a_pmigd_there_it_is_said_that_nobody_could_look() -> None:
    assert at_destination(replace(PLAIN, named=(LISTEN, KERNEL))) == {"not_checked": Level.INFO}


def test_below_an_image_that_is_copied_nothing_has_to_be_there() -> None:
    wants = replace(PLAIN, named=(BASE,), disks=(_disk(),))
    own = local(paths_missing=(BASE.name,))
    assert at_destination(wants, own=own) == {"image_missing": Level.BLOCK}
    assert at_destination(wants, own=own, copy_storage=CopyStorage.ALL) == {}


def _disk() -> DiskFacts:
    return DiskFacts("vda", path="/i/a.qcow2")
