"""Small pieces: numbers, times, tables, sparklines, control sequences, the live picture, names of losses."""

from __future__ import annotations

import io

import httpx
import pytest
from client_fake import START, FakeServer, complete, point, run_document
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from augury.cli import live, losses, watching
from augury.cli.options import OneJudgedSearch
from augury.cli.output import text
from augury.cli.output.table import ids, parameter
from augury.cli.watching import Board
from augury.errors import UnavailableError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.47596198145023644, "0.475962"),
        (1, "1"),
        (123456789, "123456789"),
        (1e-8, "1e-08"),
        (True, "true"),
        (None, "-"),
        ("gru", "gru"),
        ("a\nb\x1b[1m", "a\\nb\\x1b[1m"),
    ],
)
def test_a_cell(value: object, shown: str) -> None:
    assert text.cell(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (-0.5, "0.0s"),
        (0.44, "0.4s"),
        (12.9, "12s"),
        (185, "3m 05s"),
        (7380, "2h 03m"),
        (349200, "4d 01h"),
    ],
)
def test_a_duration(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_a_table_lines_up_with_wide_characters() -> None:
    assert text.table(["a", "b"], [["日本", "x"], ["y", "z"]]) == ["a     b", "日本  x", "y     z"]


def test_the_last_column_is_cut_to_the_terminal() -> None:
    lines = text.table(["ID", "COMMAND"], [["1", "python train.py --rate 0.1"]], room=20)
    assert lines[1] == "1   python train.py…"
    assert all(text.width(line) <= 20 for line in lines)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=200), st.integers(1, 50))
def test_a_sparkline_has_a_bar_for_each_value_as_far_as_there_is_room(values: list[float], room: int) -> None:
    line = text.sparkline(values, room)
    assert len(line) == min(len(values), room)
    if len(set(values)) > 1 and len(values) <= room:
        assert "█" in line
        assert "▁" in line


def test_a_rising_curve() -> None:
    assert text.sparkline([1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇█"


SEQUENCES = [
    "\x1b[31m",
    "\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\",
    "\x1b(B",
    "\x1bc",
    "\x1b[2K",
    "\x07",
]


@given(st.lists(st.sampled_from([*SEQUENCES, "word", "ä", "\n", "\t", "\r"]), max_size=30), st.data())
def test_control_sequences_are_taken_out_wherever_the_text_is_cut(
    pieces: list[str], data: st.DataObject
) -> None:
    whole = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    clean = text.ControlFilter()
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert "".join(clean.feed(part) for part in parts) == "".join(p for p in pieces if p not in SEQUENCES)


def test_a_lone_escape_does_not_hold_back_the_text_for_ever() -> None:
    clean = text.ControlFilter()
    clean.feed("\x1b]")
    assert clean.feed("x" * 5000).endswith("xxx")


@pytest.mark.parametrize(
    "name", ["loss", "val_loss", "keras/val_loss", "test/RMSE", "meanAbsError", "perplexity", "Loss"]
)
def test_a_loss_is_known_by_its_name(name: str) -> None:
    assert losses.warning(name, "maximize")
    assert losses.warning(name, "minimize") is None


@pytest.mark.parametrize(
    "name", ["val_acc", "keras/val_accuracy", "reward", "auc", "closset", "Total Songs", ""]
)
def test_other_names_are_not_doubted(name: str) -> None:
    assert not losses.looks_like_loss(name)


def test_a_parameter_is_shown_as_it_was_typed() -> None:
    assert parameter({"values": [7, 0.1], "texts": ["007", ".1"]}) == "007, .1"
    assert parameter({"min": 1, "max": 100, "scaling": "log", "type": "int"}) == "1 to 100, log int"


def test_a_long_list_of_ids_is_shortened() -> None:
    assert ids([1, 2, 3]) == "1, 2, 3"
    assert ids(list(range(1, 101))) == "1, 2, 3, 4, 5, … 100 (100 in all)"


def picture(server: FakeServer, height: int) -> str:
    board = Board(server.client(), 59, OneJudgedSearch(search=59))
    board.refresh()
    console = Console(file=io.StringIO(), width=100, height=height, color_system=None)
    console.print(live.picture(board, height))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_live_picture_fits_the_terminal_and_shows_the_best_run() -> None:
    runs = [complete(number, 1 / number, params={"rate": "[red]x:100:"}) for number in range(1, 50)]
    server = FakeServer().with_runs(
        *runs, run_document(50, state="running"), *map(run_document, range(51, 99))
    )
    shown = picture(server, 24)
    assert len(shown.splitlines()) <= 23
    assert "49/98" in shown
    assert "49 complete, 1 running, 48 queued" in shown
    assert "best 1 by run 1" in shown
    assert "[red]x:100:" in shown
    assert any(line.startswith("1 ") for line in shown.splitlines())
    assert any(line.startswith("50 ") for line in shown.splitlines())


def test_the_live_picture_stands_still_and_says_so_while_the_server_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = FakeServer().with_runs(run_document(1, state="running", started_at=START))
    board = Board(server.client(), 59, OneJudgedSearch(search=59))
    board.refresh()
    assert board.trouble is None

    def refuse(method: str, path: str) -> None:
        raise httpx.ConnectError("refused")

    server.on_request = refuse
    with pytest.raises(UnavailableError):
        board.refresh()
    assert board.trouble is None
    for limit in ("SILENT_SECONDS", "STANDING_SECONDS"):
        monkeypatch.setattr(watching, limit, 0.0)
    assert board.trouble == "the server at http://fake does not answer; trying on"
    assert board.now == board.now
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(live.picture(board, 24))
    assert board.trouble in console.file.getvalue()  # type: ignore[attr-defined]
    server.on_request = lambda method, path: None
    board.refresh()
    assert board.trouble is None


def test_the_live_picture_of_a_search_without_results() -> None:
    assert "no objective yet" in picture(FakeServer().with_runs(run_document(1)), 24)


def test_the_live_picture_shows_the_newest_value_of_a_running_run_and_how_long_it_goes_on() -> None:
    server = FakeServer().with_runs(complete(1, 0.5), run_document(2, state="running", started_at=START))
    server.points = [point(1, 3, 0.5), point(2, 0, 0.25), point(2, 1, 0.75), point(2, 2, 9, name="other")]
    lines = picture(server, 24).splitlines()
    heads = next(line.split() for line in lines if line.startswith("Run ID"))
    cells = next(line.split() for line in lines if line.startswith("2 "))
    assert heads[-2:] == ["Latest", "Objective"]
    assert cells[1] == "running"
    assert cells[2] != "-"
    assert cells[-2:] == ["0.75", "-"]
    server.search["metric"] = None
    assert "Latest" not in picture(server, 24)


def test_a_value_that_is_no_number_is_shown_live() -> None:
    server = FakeServer().with_runs(run_document(2, state="running", started_at=START))
    server.points = [point(2, 0, "NaN")]
    assert " nan " in picture(server, 24)


def test_what_was_asked_to_end_and_goes_on_is_shown_as_ending() -> None:
    assert text.state({"state": "running", "want": "stop"}) == "stopping"
    assert text.state({"state": "paused", "want": "kill"}) == "killing"
    assert text.state({"state": "stopped", "want": "stop"}) == "stopped"
    server = FakeServer().with_runs(run_document(2, state="running", started_at=START))
    board = Board(server.client(), 59, OneJudgedSearch(search=59))
    board.refresh()
    server.runs[2]["want"] = server.search["want"] = "stop"
    assert board.refresh() == []
    assert text.state(board.runs[2]) == "stopping"
