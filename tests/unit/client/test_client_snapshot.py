"""The code of a search: which files travel, how they are packed, what is refused before anything is sent."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from augury.client import snapshot
from augury.client.ignoring import Ignored
from augury.client.snapshot import Snapshot, pack
from augury.errors import UsageError
from augury_workers.unpack import unpack


def write(top: Path, **files: str) -> Path:
    for name, content in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return top


def git(top: Path, *words: str) -> None:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    subprocess.run(["git", "-C", str(top), *settings, *words], check=True, capture_output=True)


def repository(top: Path, **files: str) -> Path:
    top.mkdir(exist_ok=True)
    git(top, "init", "-q")
    write(top, **files)
    git(top, "add", "-A")
    git(top, "commit", "-qm", "first")
    return top


def contents(packed: Snapshot) -> dict[str, str | None]:
    """Return what is in a snapshot; None stands for a directory."""
    found: dict[str, str | None] = {}
    with tarfile.open(fileobj=io.BytesIO(packed.file.read()), mode="r:gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            found[member.name] = content.read().decode() if content is not None else None
    return found


def test_in_git_the_files_as_they_are_now_travel(tmp_path: Path) -> None:
    top = repository(
        tmp_path / "r", **{"a.py": "old", "gone.py": "x", "sub/b.py": "b", ".gitignore": "data/\n"}
    )
    write(top, **{"a.py": "edited", "new.py": "n", "data/big": "x", "é ü.txt": "odd"})
    (top / "gone.py").unlink()
    expected = {".gitignore": "data/\n", "a.py": "edited", "new.py": "n", "sub/b.py": "b", "é ü.txt": "odd"}
    packed = pack(str(top))
    assert contents(packed) == expected
    assert (packed.cwd, packed.files, packed.notices) == ("", 5, [])
    below = pack(str(top / "sub"))
    assert contents(below) == expected
    assert below.cwd == "sub"
    assert below.digest == packed.digest


def test_a_directory_without_files_is_there_for_the_run_to_start_in(tmp_path: Path) -> None:
    top = repository(tmp_path / "r", **{"a.py": "a"})
    (top / "work" / "here").mkdir(parents=True)
    packed = pack(str(top / "work" / "here"))
    assert contents(packed) == {"work/here": None, "a.py": "a"}
    assert packed.cwd == "work/here"


def test_outside_git_the_folder_travels(tmp_path: Path) -> None:
    top = write(tmp_path / "f", **{"a.py": "a", "sub/b.py": "b", "sub/__pycache__/b.pyc": "x"})
    assert contents(pack(str(top))) == {"a.py": "a", "sub/b.py": "b"}
    assert contents(pack(str(top / "sub"))) == {"b.py": "b"}


@pytest.mark.parametrize("in_git", [True, False])
def test_what_auguryignore_names_stays_at_home(tmp_path: Path, in_git: bool) -> None:
    files = {
        ".auguryignore": "# big things\n*.ckpt\n/data/\n!keep.ckpt\n",
        "a.ckpt": "x", "sub/b.ckpt": "x", "keep.ckpt": "k", "data/x": "x", "sub/data/y": "y", "a.py": "a",
    }  # fmt: skip
    top = repository(tmp_path / "r", **files) if in_git else write(tmp_path / "r", **files)
    assert sorted(contents(pack(str(top)))) == [".auguryignore", "a.py", "keep.ckpt", "sub/data/y"]


IGNORED = [
    ("*.pt", "a.pt", True), ("*.pt", "deep/in/a.pt", True), ("*.pt", "a.pth", False),
    ("/a", "a", True), ("/a", "b/a", False), ("b/a", "b/a", True), ("b/a", "c/b/a", False),
    ("runs/", "runs/x/y", True), ("runs/", "deep/runs/x", True), ("runs/", "runs", False),
    ("a/**/z", "a/z", True), ("a/**/z", "a/b/c/z", True), ("**/z", "x/z", True), ("a/**", "a/b/c", True),
    ("a*c", "abc", True), ("a*c", "a/c", False), ("a?c", "abc", True), ("[ab].py", "b.py", True),
    ("[!ab].py", "b.py", False), ("[!ab].py", "c.py", True), (r"\#a", "#a", True), (r"\!a", "!a", True),
    ("a.py", "axpy", False), ("# a", "# a", False), ("a  ", "a", True), (r"x\*", "x*", True),
    (r"x\*", "xy", False),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "name", "hidden"), IGNORED)
def test_a_pattern_means_what_git_means(tmp_path: Path, pattern: str, name: str, hidden: bool) -> None:
    assert Ignored([pattern]).hides(name) == hidden
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text(f"{pattern}\n")
    words = ["git", "-C", str(tmp_path), "check-ignore", "-q", "--no-index", name]
    assert (subprocess.run(words, check=False).returncode == 0) == hidden


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    one = write(tmp_path / "one", **{"b": "2", "a/x": "1"})
    other = write(tmp_path / "other", **{"a/x": "1", "b": "2"})
    os.utime(one / "b", (1, 1))
    (one / "b").chmod(0o600)
    first, second = pack(str(one)), pack(str(other))
    assert first.digest == second.digest
    assert first.file.read() == second.file.read()
    (other / "b").chmod(0o755)
    assert pack(str(other)).digest != first.digest


def test_a_link_to_a_file_inside_travels_as_its_content_and_others_are_named(tmp_path: Path) -> None:
    write(tmp_path, secret="s")
    top = write(tmp_path / "f", **{"a.py": "a", "sub/b.py": "b"})
    (top / "link.py").symlink_to("sub/b.py")
    (top / "out").symlink_to(tmp_path / "secret")
    (top / "folder").symlink_to("sub")
    (top / "broken").symlink_to("nowhere")
    (top / "round").symlink_to("round")
    packed = pack(str(top))
    assert contents(packed) == {"a.py": "a", "link.py": "b", "sub/b.py": "b"}
    [notice] = packed.notices
    assert "4 links that lead to no file inside it" in notice
    assert all(name in notice for name in ("out", "folder", "broken", "round"))
    with_git = repository(top)
    assert contents(pack(str(with_git))) == {"a.py": "a", "link.py": "b", "sub/b.py": "b"}


def test_sockets_and_pipes_are_no_code(tmp_path: Path) -> None:
    write(tmp_path, **{"a.py": "a"})
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(tmp_path / "socket"))
        assert contents(pack(str(tmp_path))) == {"a.py": "a"}


def test_submodules_and_repositories_inside_travel_too(tmp_path: Path) -> None:
    library = repository(tmp_path / "library", **{"lib.py": "l"})
    top = repository(tmp_path / "r", **{"a.py": "a"})
    git(top, "submodule", "add", "-q", str(library), "vendor/lib")
    repository(top / "nested", **{"n.py": "n"})
    write(top, **{"vendor/lib/new.py": "x"})
    found = contents(pack(str(top)))
    assert found.pop(".gitmodules")
    assert found == {"a.py": "a", "vendor/lib/lib.py": "l", "vendor/lib/new.py": "x", "nested/n.py": "n"}
    git(top, "commit", "-qm", "with a submodule")
    git(top, "submodule", "deinit", "-f", "vendor/lib")
    packed = pack(str(top))
    assert "submodules that are not checked out: vendor/lib" in packed.notices[0]


def test_too_much_is_refused_with_the_largest_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MAX_SNAPSHOT_BYTES", 100_000)
    for number in range(7):
        (tmp_path / f"{number}.ckpt").write_bytes(b"x" * 10_000 * number)
    with pytest.raises(UsageError) as refused:
        pack(str(tmp_path))
    text = str(refused.value)
    named = [f"{number}.ckpt" in text for number in range(7)]
    assert named == [False, False, True, True, True, True, True]
    assert "6.ckpt (0.1 MB), 5.ckpt" in text
    assert f"{tmp_path}/.auguryignore" in text
    monkeypatch.setattr(snapshot, "MAX_FILES", 3)
    with pytest.raises(UsageError, match="more than 3 files"):
        pack(str(tmp_path))


def test_a_home_folder_is_not_sent_by_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(snapshot, "HOME_FILES", 3)
    write(tmp_path, **{"a.py": "a", "b.py": "b"})
    assert contents(pack(str(tmp_path))) == {"a.py": "a", "b.py": "b"}
    write(tmp_path, **{"c": "", "sub/d": "", "sub/e": ""})
    with pytest.raises(UsageError, match="that is your home"):
        pack(str(tmp_path))
    assert pack(str(tmp_path / "sub")).files == 2
    with pytest.raises(UsageError, match="here /"):
        pack("/")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, _mode: str) -> None:
        raise PermissionError(13, "Permission denied", path)  # root may read everything

    write(tmp_path, **{"a.py": "a"})
    monkeypatch.setattr(snapshot, "open", refuse, raising=False)
    with pytest.raises(UsageError, match=r"a\.py cannot be read.*Permission denied.*\.auguryignore"):
        pack(str(tmp_path))


def test_without_git_the_folder_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, **{"a.py": "a"})
    monkeypatch.setenv("PATH", str(tmp_path))
    assert contents(pack(str(tmp_path))) == {"a.py": "a"}


def test_what_git_complains_about_is_passed_on(tmp_path: Path) -> None:
    write(tmp_path, **{".git": "gitdir: /nowhere", "a.py": "a"})
    with pytest.raises(UsageError, match=r"git does not say which files.*not a git repository"):
        pack(str(tmp_path))


def test_what_a_hook_of_git_says_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = repository(tmp_path / "other", **{"b.py": "b"})
    top = repository(tmp_path / "r", **{"a.py": "a"})
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert contents(pack(str(top))) == {"a.py": "a"}


def test_a_folder_that_is_only_on_the_workers_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such folder here.*--no-snapshot"):
        pack(str(tmp_path / "there"))


def test_names_as_long_as_they_come_are_unpacked_as_they_were(tmp_path: Path) -> None:
    names = ["d" * 120 + "/" + "e" * 200, "\udcff.bin", "\n new\tline"]
    top = write(tmp_path / "f", **{name: name[:3].encode(errors="replace").decode() for name in names})
    (top / names[0]).chmod(0o700)
    archive = tmp_path / "packed.tar.gz"
    archive.write_bytes(pack(str(top)).file.read())
    unpack(str(archive), str(tmp_path / "out"))
    found = {
        str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()
    }
    assert found == set(names)
    assert os.access(tmp_path / "out" / names[0], os.X_OK)
