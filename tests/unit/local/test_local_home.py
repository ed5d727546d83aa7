"""Where the local instance keeps its state: which folder, and that nobody else can reach it."""

from __future__ import annotations

import importlib.metadata
import os
import stat
from pathlib import Path

import pytest

from augury.errors import UnavailableError
from augury.local import connect, doctor, down
from augury.local import home as homes
from augury.local.home import Home, file_system, is_network, locate, own_version, private_folder

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make folders of another user")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for /var/tmp and /tmp, and a user without a home folder in the user database."""
    folder = tmp_path / "var tmp"
    folder.mkdir()
    monkeypatch.setattr(homes, "LOCAL_STATE_FOLDER", folder)
    monkeypatch.setattr(homes, "SHORT_FOLDERS", (folder,))

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)
    return folder


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_home_is_where_augury_home_says(tmp_path: Path) -> None:
    found = locate({"AUGURY_HOME": str(tmp_path / "a b" / "c"), "HOME": "/nowhere"})
    assert found.path == tmp_path / "a b" / "c"
    assert mode_of(found.path) == 0o700


def test_a_relative_augury_home_counts_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate({"AUGURY_HOME": "here"}).path == tmp_path / "here"


def test_without_augury_home_it_is_in_the_home_folder(tmp_path: Path, machine: Path) -> None:
    assert locate({"HOME": str(tmp_path), "AUGURY_HOME": ""}).path == tmp_path / ".augury"


@pytest.mark.parametrize("environment", [{}, {"HOME": ""}, {"HOME": "/nonexistent"}, {"HOME": "relative"}])
def test_a_user_without_a_home_gets_a_folder_of_the_machine(
    environment: dict[str, str], machine: Path
) -> None:
    assert locate(environment).path == machine / f"augury-{os.geteuid()}"


@as_root
def test_root_in_the_home_of_another_user_does_not_lock_that_user_out(tmp_path: Path, machine: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    assert locate({"HOME": str(theirs)}).path == machine / "augury-0"
    assert not list(theirs.iterdir())


@as_root
def test_a_folder_of_another_user_is_refused_by_name(tmp_path: Path, machine: Path) -> None:
    theirs = machine / "augury-0"
    theirs.mkdir()
    os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(UnavailableError, match=f"augury-0 belongs to uid {NOBODY}.*AUGURY_HOME"):
        locate({})


@as_root
def test_a_link_planted_by_another_user_is_refused(tmp_path: Path, machine: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    link = machine / "augury-0"
    link.symlink_to(target)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(UnavailableError, match="not a folder"):
        locate({})


def test_a_link_of_ones_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    locate({"AUGURY_HOME": str(tmp_path / "link")}).prepare()
    assert mode_of(tmp_path / "disk") == 0o700
    assert (tmp_path / "disk" / "logs").is_dir()


def test_an_own_folder_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "h").mkdir()
    (tmp_path / "h").chmod(0o755)
    (tmp_path / "h" / "secret").touch()
    assert mode_of(locate({"AUGURY_HOME": str(tmp_path / "h")}).path) == 0o700


def test_a_shared_folder_given_as_home_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    (shared / "of-somebody").touch()
    shared.chmod(0o1777)
    with pytest.raises(UnavailableError, match=r"mode 1777.*folder of its own"):
        locate({"AUGURY_HOME": str(shared)})
    assert mode_of(shared) == 0o1777


def test_a_file_in_the_place_of_the_home_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="file is not a folder"):
        locate({"AUGURY_HOME": str(tmp_path / "file")})
    with pytest.raises(UnavailableError, match="cannot make the folder"):
        locate({"AUGURY_HOME": str(tmp_path / "file" / "below")})


def test_every_folder_of_the_instance_is_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        place = Home(private_folder(tmp_path / "h"))
        place.prepare()
    finally:
        os.umask(old)
    assert [mode_of(path) for path in (place.path, *place.path.iterdir())] == [0o700] * 4


def test_a_folder_whose_parts_were_opened_to_others_is_closed_again(tmp_path: Path) -> None:
    place = Home(private_folder(tmp_path / "h"))
    place.prepare()
    place.log("server").touch()
    place.logs.chmod(0o755)
    place.prepare()
    assert mode_of(place.logs) == 0o700


MOUNTS = (
    "/dev/sda1 / ext4 rw 0 0\n"
    "server:/home /home nfs4 rw 0 0\n"
    "/dev/sdb1 /home/local xfs rw 0 0\n"
    "sshfs#x /mnt/with\\040space fuse.sshfs rw 0 0\n"
    "overlay /container fuse.fuse-overlayfs rw 0 0\n"
    "a /twice ext4 rw 0 0\n"
    "b /twice nfs rw 0 0\n"
)


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/home/ann/.augury", "nfs4", True),
        ("/home/local/ann", "xfs", False),
        ("/homestead", "ext4", False),
        ("/mnt/with space/x", "fuse.sshfs", True),
        ("/container/x", "fuse.fuse-overlayfs", False),
        ("/twice/x", "nfs", True),
        ("/", "ext4", False),
    ],
)
def test_the_file_system_of_a_path_is_known(path: str, kind: str, network: bool) -> None:
    assert file_system(Path(path), MOUNTS) == kind
    assert is_network(kind) is network


def test_a_home_on_a_network_file_system_moves_to_this_machine_and_says_so_once(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "file_system", lambda path: "nfs4" if path.name == ".augury" else "ext4")
    said: list[str] = []
    found = locate({"HOME": str(tmp_path)}, said.append)
    assert found.path.parent == machine / f"augury-{os.geteuid()}"
    assert not (tmp_path / ".augury").exists()
    assert len(said) == 1
    assert "network file system (nfs4)" in said[0]
    assert str(found.path) in said[0]
    assert locate({"HOME": str(tmp_path)}, said.append) == found
    assert len(said) == 1


def test_two_homes_on_a_network_file_system_stay_apart(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "file_system", lambda path: "ext4" if path == machine else "lustre")
    places = {locate({"AUGURY_HOME": str(tmp_path / name)}).path for name in "ab"}
    assert len(places) == 2


def test_the_socket_is_in_the_home_when_its_path_is_short_and_plain() -> None:
    assert Home(Path("/home/ann/.augury")).socket() == Path("/home/ann/.augury/valkey.sock")


@pytest.mark.parametrize("name", ["x" * 120, "a b", "ü", "50%", "#1", "q?x=1"])
def test_the_socket_of_any_other_home_has_a_short_plain_private_folder(
    name: str, machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(homes, "SHORT_FOLDERS", (tmp_path,))
    found = Home(Path("/home") / name).socket()
    assert found.parent.parent == tmp_path / f"augury-{os.geteuid()}"
    assert mode_of(found.parent) == mode_of(found.parent.parent) == 0o700
    assert found == Home(Path("/home") / name).socket()
    assert found != Home(Path("/home") / (name + "y")).socket()


@as_root
def test_a_socket_folder_taken_by_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    (first / "augury-0").mkdir()
    os.chown(first / "augury-0", NOBODY, NOBODY)
    monkeypatch.setattr(homes, "SHORT_FOLDERS", (first, second))
    assert Home(Path("/home/a b")).socket().is_relative_to(second)
    (second / "augury-0").rename(second / "gone")
    (second / "augury-0").symlink_to(first)
    os.chown(second / "augury-0", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(UnavailableError, match="no private folder for the broker's socket"):
        Home(Path("/home/a b")).socket()


def test_the_version_is_that_of_the_distribution() -> None:
    assert own_version() == importlib.metadata.version("augury")


def everything_below(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("deep", [False, True])
def test_doctor_and_status_make_and_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: Path, deep: bool
) -> None:
    (tmp_path / "user").mkdir()
    home = tmp_path / "user" / ("x" * 120 if deep else "h")
    monkeypatch.setenv("AUGURY_HOME", str(home))
    before = everything_below(tmp_path)
    checks = {check.name: check for check in doctor()}
    assert deep or all(check.ok for check in checks.values()), checks
    assert "does not exist yet" in checks["home folder"].text
    with pytest.raises(UnavailableError, match="augury up"):
        connect(start=False)
    assert not down()
    assert everything_below(tmp_path) == before


def test_doctor_does_not_close_a_folder_that_others_can_enter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    monkeypatch.setenv("AUGURY_HOME", str(home))
    doctor()
    assert mode_of(home) == 0o755


def test_doctor_names_a_place_where_no_home_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUGURY_HOME", "/proc/self/home")
    (home,) = [check for check in doctor() if check.name == "home folder"]
    assert not home.ok
    assert "/proc/self/home" in home.text
