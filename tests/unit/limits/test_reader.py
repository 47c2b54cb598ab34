"""Reading limits without a daemon: virt-admin's words, the files, which daemons a host has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pmigd.adapters.limits import virtadmin
from pmigd.adapters.limits.reader import LimitSource, Reader
from pmigd.adapters.limits.virtadmin import NoAnswerError, parse
from pmigd.adapters.system.libvirtconf import read as read_conf
from pmigd.core.limits import Source
from tests.support.build import at

# As virt-admin 9.0 and 11.3 print it.
SAID = """\
minWorkers     : 5
maxWorkers     : 20
nWorkers       : 6
freeWorkers    : 4
prioWorkers    : 5
jobQueueDepth  : 0

nclients_max        : 5000
nclients            : 3
nclients_unauth_max : 20
nclients_unauth     : 0
"""


def test_virt_admins_words_become_the_names_of_libvirts_files() -> None:
    told = parse(SAID, "")
    assert set(told) == set(virtadmin.FIGURES.values())
    assert (told["max_workers"], told["workers"], told["free_workers"]) == (20, 6, 4)
    assert (told["max_clients"], told["clients"], told["max_anonymous_clients"]) == (5000, 3, 20)


def test_half_an_answer_is_none_and_says_why() -> None:
    half = "".join(SAID.splitlines(keepends=True)[7:])
    with pytest.raises(NoAnswerError, match=r"No server named 'libvirtd'$"):
        parse(half, "error: Server not found: No server named 'libvirtd'\n\n")
    with pytest.raises(NoAnswerError, match="no free_workers, max_workers, min_workers"):
        parse(half, "")


def test_figures_of_a_newer_virt_admin_that_we_do_not_know_are_passed_over() -> None:
    assert parse(SAID + "nclients_new: 5\nsomething else\nname : text\n", "") == parse(SAID, "")


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Reads a host whose sockets and files are in `tmp_path`."""
    return Reader(read_conf, lambda: at(0), socket_dir=tmp_path, conf_dir=tmp_path)


@pytest.mark.parametrize(
    ("sockets", "daemons"),
    [
        ([], ["libvirtd"]),
        (["libvirt-sock"], ["libvirtd"]),
        (["virtqemud-sock"], ["virtqemud"]),
        (["virtqemud-sock", "libvirt-sock"], ["virtqemud", "virtproxyd"]),
    ],
)
def test_the_sockets_tell_which_daemons_serve_migrations(
    tmp_path: Path, reader: Reader, sockets: list[str], daemons: list[str]
) -> None:
    for name in sockets:
        (tmp_path / name).touch()
    assert list(reader.read(LimitSource.CONF, None).daemons) == daemons


def test_each_daemon_has_its_own_file_and_a_given_one_is_for_the_first(
    tmp_path: Path, reader: Reader
) -> None:
    for name in ("virtqemud-sock", "libvirt-sock"):
        (tmp_path / name).touch()
    (tmp_path / "virtqemud.conf").write_text("max_workers = 9\n")
    (tmp_path / "virtproxyd.conf").write_text("max_workers = 30\nlog_level = 3\n")
    (tmp_path / "qemu.conf").write_text('user = "root"\nmigration_port_min = 50000\n')
    (tmp_path / "own.conf").write_text("max_workers = 11\n")

    def figures(daemon_conf: Path | None) -> list[dict[str, int]]:
        answers = reader.read(LimitSource.CONF, daemon_conf).daemons.values()
        assert all(answer.conf is not None and not answer.problem for answer in answers)
        return [dict(answer.conf.figures) for answer in answers if answer.conf]

    assert figures(None) == [{"max_workers": 9}, {"max_workers": 30}]
    assert figures(tmp_path / "own.conf") == [{"max_workers": 11}, {"max_workers": 30}]
    qemu_conf = reader.read(LimitSource.CONF, None).qemu_conf
    assert qemu_conf.conf is not None
    assert qemu_conf.conf.source is Source.CONF
    assert qemu_conf.conf.figures == {"migration_port_min": 50000}


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    reads = []

    def counted(path: Path):
        reads.append(path.name)
        return read_conf(path)

    reader = Reader(counted, lambda: at(len(reads)), socket_dir=tmp_path, conf_dir=tmp_path)
    conf = tmp_path / "libvirtd.conf"
    conf.write_text("max_workers = 9\n")

    def max_workers() -> int | None:
        answer = reader.read(LimitSource.CONF, None).daemons["libvirtd"]
        return answer.conf.figures.get("max_workers") if answer.conf else None

    assert [max_workers(), max_workers(), reads.count("libvirtd.conf")] == [9, 9, 1]
    replacement = tmp_path / "new"
    replacement.write_text("max_workers = 8\n")
    replacement.rename(conf)
    assert [max_workers(), reads.count("libvirtd.conf")] == [8, 2]
    conf.unlink()
    assert max_workers() is None


def test_a_file_that_cannot_be_understood_is_said_and_gives_no_figures(
    tmp_path: Path, reader: Reader
) -> None:
    (tmp_path / "libvirtd.conf").write_text("max_workers = \n")
    (tmp_path / "qemu.conf").mkdir()
    host = reader.read(LimitSource.CONF, None)
    assert host.daemons["libvirtd"].conf is None
    assert "libvirtd.conf: line" in host.daemons["libvirtd"].problem
    assert host.qemu_conf.problem == f"{tmp_path}/qemu.conf: Is a directory"


def test_a_figure_that_is_no_number_is_said_and_the_others_count(
    tmp_path: Path, reader: Reader
) -> None:
    (tmp_path / "libvirtd.conf").write_text(
        'max_workers = "many"\nmin_workers = -1\nmax_clients = 10\n'
    )
    answer = reader.read(LimitSource.CONF, None).daemons["libvirtd"]
    assert answer.conf is not None
    assert answer.conf.figures == {"max_clients": 10}
    assert answer.problem.endswith("libvirtd.conf: not a number: max_workers, min_workers")


def test_the_defaults_alone_touch_nothing(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "libvirtd.conf").write_text("max_workers = 9\n")
    answer = reader.read(LimitSource.DEFAULT, None).daemons["libvirtd"]
    assert (answer.live, answer.conf, answer.problem) == (None, None, "")
