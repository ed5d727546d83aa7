"""`augury ls` and `augury cp`: what a run has left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from client_fake import FakeServer

from augury import NotFoundError, RefusedError
from augury.client.outputs import OutputFile, plan

Augury = Callable[..., Any]


@pytest.fixture(autouse=True)
def outputs(server: FakeServer) -> None:
    server.outputs = {"ckpt/a.pt": b"A" * 1500, "ckpt/deep/b": b"B", "model é 100%?#.pt": b"M"}


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_ls_shows_sizes_and_paths(augury: Augury) -> None:
    said = augury("ls", "runs/401")
    assert said.code == 0
    assert said.out.splitlines()[1:3] == ["1.5 kB  ckpt/a.pt", "1 B     ckpt/deep/b"]
    assert said.out.splitlines()[-1] == "3 files, 1.5 kB"
    assert augury("ls", "401/ckpt/", "--json").json == [
        {"path": "ckpt/a.pt", "bytes": 1500},
        {"path": "ckpt/deep/b", "bytes": 1},
    ]
    assert augury("ls", "runs/401/ckpt/deep", "-q").out == "runs/401/ckpt/deep/b\n"


def test_ls_of_a_run_without_files_is_empty_and_of_a_wrong_path_an_error(
    augury: Augury, server: FakeServer
) -> None:
    said = augury("ls", "runs/401/ckp")
    assert (said.code, said.out) == (1, "")
    assert "run 401 has no file or folder 'ckp'" in said.err
    server.outputs = {}
    assert augury("ls", "runs/401", "--json").json == []
    assert augury("ls", "runs/9").code == 1


@pytest.mark.parametrize("text", ["", "401x", "runs", "runs/", "uploads/x", "runs/-1", "runs/0"])
def test_what_names_no_outputs_is_told_with_the_form(augury: Augury, text: str) -> None:
    said = augury("ls", text)
    assert said.code == 2
    assert "write runs/RUN or runs/RUN/PATH" in said.err


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["runs/401", "."], {"401/ckpt/a.pt", "401/ckpt/deep/b", "401/model é 100%?#.pt"}),
        (["runs/401"], {"401/ckpt/a.pt", "401/ckpt/deep/b", "401/model é 100%?#.pt"}),
        (["runs/401", "new"], {"new/ckpt/a.pt", "new/ckpt/deep/b", "new/model é 100%?#.pt"}),
        (["runs/401/ckpt", "."], {"ckpt/a.pt", "ckpt/deep/b"}),
        (["runs/401/ckpt/", "new/"], {"new/ckpt/a.pt", "new/ckpt/deep/b"}),
        (["runs/401/ckpt/a.pt", "."], {"a.pt"}),
        (["runs/401/ckpt/a.pt", "best.pt"], {"best.pt"}),
        (["runs/401/model é 100%?#.pt", "m"], {"m"}),
    ],
)
def test_cp_puts_things_where_cp_would(
    augury: Augury, tmp_path: Path, words: list[str], written: set[str]
) -> None:
    said = augury("cp", *words)
    assert said.code == 0, said.err
    assert set(files(tmp_path)) == written
    assert said.out.startswith("Copied ")


def test_cp_says_what_it_wrote_to_programs(augury: Augury) -> None:
    assert augury("cp", "runs/401/ckpt", ".", "--json").json == ["ckpt/a.pt", "ckpt/deep/b"]
    assert augury("cp", "runs/401/ckpt", "x", "-q").out == "x/a.pt\nx/deep/b\n"


def test_cp_overwrites_only_when_told_to(augury: Augury, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_text("mine")
    said = augury("cp", "runs/401/ckpt/a.pt", ".")
    assert said.code == 2
    assert "a.pt exists: use --force" in said.err
    assert (tmp_path / "a.pt").read_text() == "mine"
    assert augury("cp", "runs/401/ckpt/a.pt", ".", "--force").code == 0
    assert (tmp_path / "a.pt").read_bytes() == b"A" * 1500
    assert set(files(tmp_path)) == {"a.pt"}


def test_cp_does_not_replace_a_folder_by_a_file(augury: Augury, tmp_path: Path) -> None:
    (tmp_path / "401/ckpt/a.pt").mkdir(parents=True)
    said = augury("cp", "runs/401", ".", "--force")
    assert said.code == 2
    assert "401/ckpt/a.pt is a folder" in said.err
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/evil", "a//b", "a/./b", "..", "a/", "x\0y", ""]
)
def test_a_hostile_name_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    listing = [OutputFile("fine", 1), OutputFile(name, 1)]
    with pytest.raises(RefusedError, match="nothing was copied"):
        plan(401, listing, "", str(tmp_path), force=True)


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="the same name"):
        plan(401, [OutputFile("a", 1), OutputFile("a", 2)], "", str(tmp_path), force=True)


def test_a_link_in_the_way_is_not_followed_out_of_the_folder(augury: Augury, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = tmp_path / "folder"
    (folder / "401").mkdir(parents=True)
    (folder / "401/ckpt").symlink_to(outside)
    said = augury("cp", "runs/401", "folder", "--force")
    assert said.code == 1
    assert "by a link" in said.err
    assert files(outside) == {}
    (folder / "b").symlink_to(outside / "b")
    assert augury("cp", "runs/401/ckpt/deep/b", "folder", "--force").code == 0
    assert files(outside) == {}
    assert (folder / "b").read_bytes() == b"B"


def test_an_answer_that_breaks_off_leaves_no_file(
    augury: Augury, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(number: int, path: str) -> httpx.Response:
        if not path:
            return httpx.Response(200, json={"outputs": [{"path": "big", "bytes": 10}]})

        def pieces() -> Any:
            yield b"half"
            raise httpx.RemoteProtocolError("peer closed connection")

        return httpx.Response(200, content=pieces())

    monkeypatch.setattr(server, "_outputs", broken)
    said = augury("cp", "runs/401/big", ".")
    assert said.code == 1
    assert "broke" in said.err
    assert files(tmp_path) == {}


def test_info_counts_the_files(augury: Augury) -> None:
    assert "Outputs       3 files: augury ls runs/401" in augury("info", "401").out
    assert augury("info", "401", "--json").json["output_files"] == 3


def test_python_lists_and_downloads(server: FakeServer, tmp_path: Path) -> None:
    run = server.client().runs.get(401)
    assert run.outputs()[0] == OutputFile("ckpt/a.pt", 1500)
    assert run.download("ckpt/deep", tmp_path) == [tmp_path / "deep/b"]
    assert run.download("ckpt/deep/b", tmp_path / "deep/b", force=True) == [tmp_path / "deep/b"]
    with pytest.raises(NotFoundError, match="augury ls runs/401"):
        run.download("nothing", tmp_path)


def test_copying_makes_no_folders_above_the_copy(augury: Augury, tmp_path: Path) -> None:
    for source in ("runs/401", "runs/401/ckpt/a.pt"):
        for dest in ("no/such/x", "no/such/"):
            said = augury("cp", source, dest)
            assert said.code == 2
            assert said.err.startswith("Error: there is no folder no")
    assert not (tmp_path / "no").exists()
