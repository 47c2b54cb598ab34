"""Opening the API's socket: never too wide, never over a living daemon."""

import grp
import os
import socket
import stat
from pathlib import Path

import pytest

from pmigd.adapters.system.unixsocket import SocketUnusable, bind_unix_socket

OWN_GROUP = grp.getgrgid(os.getegid()).gr_name
NO_GROUP = "pmigd-no-such-group"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    return tmp_path / "pmigd.sock"


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_socket_listens_with_the_mode_and_group_asked_for(path: Path) -> None:
    bound = bind_unix_socket(path, mode=0o660, group=OWN_GROUP)
    assert bound.warnings == ()
    assert (mode_of(path), path.stat().st_gid) == (0o660, os.getegid())
    assert not bound.socket.getblocking()
    assert not bound.socket.get_inheritable()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    bound.remove()
    assert not path.exists()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_umask_of_the_process_neither_matters_nor_changes(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        bound = bind_unix_socket(path, mode=0o660, group="")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert mode_of(path) == 0o660
    bound.remove()


def test_the_socket_is_for_its_owner_alone_until_it_has_its_group(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def chown(target: Path, uid: int, gid: int, *, follow_symlinks: bool) -> None:
        seen.append(mode_of(target))

    monkeypatch.setattr(os, "chown", chown)
    bind_unix_socket(path, mode=0o660, group=OWN_GROUP).remove()
    assert seen == [0o600]


def test_without_its_group_the_socket_is_for_root_alone_and_says_so(path: Path) -> None:
    bound = bind_unix_socket(path, mode=0o660, group=NO_GROUP)
    assert mode_of(path) == 0o600
    assert len(bound.warnings) == 1
    assert f"groupadd --system {NO_GROUP}" in bound.warnings[0]
    bound.remove()


def test_a_socket_somebody_answers_on_is_left_alone(path: Path) -> None:
    living = bind_unix_socket(path, mode=0o600, group="")
    with pytest.raises(SocketUnusable, match=f"another pmigd answers on {path}"):
        bind_unix_socket(path, mode=0o600, group="")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    living.remove()


def test_a_living_socket_with_a_full_queue_is_left_alone(path: Path) -> None:
    living = bind_unix_socket(path, mode=0o600, group="", backlog=0)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        with pytest.raises(SocketUnusable, match="another pmigd answers"):
            bind_unix_socket(path, mode=0o600, group="")
    living.remove()


def test_a_stale_socket_is_replaced(path: Path) -> None:
    bind_unix_socket(path, mode=0o600, group="").socket.close()
    assert path.is_socket()
    bound = bind_unix_socket(path, mode=0o600, group="")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    bound.remove()


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_what_is_no_socket_is_never_removed(path: Path, kind: str) -> None:
    if kind == "file":
        path.write_text("precious")
    elif kind == "link":
        path.symlink_to(path.parent / "elsewhere")
    else:
        path.mkdir()
    with pytest.raises(SocketUnusable, match="is not a socket"):
        bind_unix_socket(path, mode=0o600, group="")
    assert os.path.lexists(path)


def test_removing_leaves_a_successors_socket_alone(path: Path) -> None:
    first = bind_unix_socket(path, mode=0o600, group="")
    path.unlink()
    second = bind_unix_socket(path, mode=0o600, group="")
    first.remove()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    second.remove()
    second.remove()


def test_a_missing_folder_is_made_and_a_missing_parent_is_an_error(tmp_path: Path) -> None:
    bound = bind_unix_socket(tmp_path / "run" / "s", mode=0o600, group="")
    assert mode_of(tmp_path / "run") & 0o022 == 0
    bound.remove()
    with pytest.raises(SocketUnusable, match="No such file"):
        bind_unix_socket(tmp_path / "a" / "b" / "s", mode=0o600, group="")


def test_a_folder_others_can_write_to_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(SocketUnusable, match="can be written by others"):
        bind_unix_socket(folder / "s", mode=0o600, group="")
    folder.chmod(0o1777)
    bind_unix_socket(folder / "s", mode=0o600, group="").remove()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir(mode=0o755)
    os.chown(folder, 12345, -1)
    with pytest.raises(SocketUnusable, match="belongs to another user"):
        bind_unix_socket(folder / "s", mode=0o600, group="")


def test_a_path_that_cannot_be_a_socket_is_refused(tmp_path: Path) -> None:
    for bad in (Path("relative"), tmp_path / ("a" * 120)):
        with pytest.raises(SocketUnusable, match="absolute path of at most 107 bytes"):
            bind_unix_socket(bad, mode=0o600, group="")
