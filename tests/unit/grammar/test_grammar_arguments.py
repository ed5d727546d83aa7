"""Where the options end and the command begins: the forms that users of the old product typed."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.errors import UsageError
from augury.grammar.arguments import split_command, swallowed_options
from augury.grammar.template import command_from_words
from augury.spec import Command

WITH_VALUE = (
    "-t", "--machine-type", "--param", "--num-runs", "-n", "--parallel-runs", "--metric", "--metric-agg",
    "-a", "--pip-req", "-m", "--mount", "--github-url",
)  # fmt: skip
FLAGS = ("-f", "--force", "-v", "--json", "--help")

TRAIN = "python train.py --learning_rate :rate: --num_layers :layers:"
GRID = ["--param", "rate=0.001,0.01,0.1,1", "--param", "layers=2,3,5,10"]


def split(line: str) -> tuple[list[str], list[str]]:
    return split_command(shlex.split(line), WITH_VALUE, FLAGS)


def test_a1_quoted_command_after_dashes() -> None:
    options, words = split(f'-t K80 --param rate=0.001,0.01,0.1,1 --param layers=2,3,5,10 -- "{TRAIN}"')
    assert options == ["-t", "K80", *GRID]
    assert words == [TRAIN]
    assert command_from_words(words) == Command(shell=TRAIN)


def test_a2_unquoted_command_after_dashes() -> None:
    options, words = split(f"--param rate=0.001,0.01,0.1,1 --param layers=2,3,5,10 -- {TRAIN}")
    assert options == GRID
    assert command_from_words(words) == Command(argv=tuple(TRAIN.split()))


def test_a3_random() -> None:
    options, words = split(
        "--num-runs 10 --param rate=.001:1.0:log --param layers=2:100:linear:int "
        f"--param cell=gru,lstm,rnn -- {TRAIN} --cell_type :cell:"
    )
    assert options[:2] == ["--num-runs", "10"]
    assert words == [*TRAIN.split(), "--cell_type", ":cell:"]


def test_a4_no_dashes_and_options_of_the_script_stay_with_the_script() -> None:
    options, words = split(
        "--num-runs 12 --parallel-runs 3 --metric keras/val_acc --metric-agg avg --param rate=.001:1.0 "
        f"--param layers=2:100:int {TRAIN}"
    )
    assert options[-2:] == ["--param", "layers=2:100:int"]
    assert words == TRAIN.split()


@pytest.mark.parametrize(
    ("line", "options", "command"),
    [
        (
            '--machine-type V100 "python pix2pix.py --mode train" -m uploads/sticks',
            ["--machine-type", "V100", "-m", "uploads/sticks"],
            "python pix2pix.py --mode train",
        ),
        (
            '"python scripts/x.py" --pip-req requirements.txt',
            ["--pip-req", "requirements.txt"],
            "python scripts/x.py",
        ),
        ('"a b" -f --json --param=x=1', ["-f", "--json", "--param=x=1"], "a b"),
        ('-f "a b" --', ["-f"], "a b"),
    ],
)
def test_a6_options_may_follow_a_quoted_command(line: str, options: list[str], command: str) -> None:
    assert split(line) == (options, [command])


@pytest.mark.parametrize(
    ("line", "options", "words"),
    [
        ("-tK80 python x", ["-tK80"], ["python", "x"]),
        ("-t K80 python x", ["-t", "K80"], ["python", "x"]),
        ("--machine-type=K80 python x", ["--machine-type=K80"], ["python", "x"]),
        ("--param a=--x python", ["--param", "a=--x"], ["python"]),
        ("--metric --odd python", ["--metric", "--odd"], ["python"]),
        ("-fv python", ["-fv"], ["python"]),
        ("-ft K80 python", ["-ft", "K80"], ["python"]),
        ("-ftK80 python", ["-ftK80"], ["python"]),
        ("-fz python", ["-fz"], ["python"]),
        ("--json python --json", ["--json"], ["python", "--json"]),
        ("python -- x", [], ["python", "--", "x"]),
        ("-- -x", [], ["-x"]),
        ("-- --", [], ["--"]),
        ("- x", [], ["-", "x"]),
        ("--param -- python", ["--param"], ["python"]),
        ("--param", ["--param"], []),
        ("--metrik loss python x", ["--metrik"], ["loss", "python", "x"]),
        ("", [], []),
        ("--", [], []),
        ("--help", ["--help"], []),
        ("'' x", [], ["", "x"]),
    ],
)
def test_other_forms(line: str, options: list[str], words: list[str]) -> None:
    assert split(line) == (options, words)


@pytest.mark.parametrize("line", ['"python a.py" b', '"python a.py" -f b', '"python a.py" -- b'])
def test_a_second_command_is_refused_and_named(line: str) -> None:
    with pytest.raises(UsageError, match=r"unexpected word 'b' after the command 'python a\.py'"):
        split(line)


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("./setup.sh -t K80", "-t"),
        ("setup.sh -tK80", "-t"),
        ("train --machine-type K80", "--machine-type"),
        ("python --param=a=1", "--param"),
        ("-f ./x --json", "--json"),
    ],
)
def test_an_option_swallowed_by_a_one_word_command_is_noticed(line: str, option: str) -> None:
    (notice,) = swallowed_options(shlex.split(line), WITH_VALUE, FLAGS)
    assert f"'{option}' went to the command" in notice


@pytest.mark.parametrize(
    "line",
    [
        TRAIN, "-- ./setup.sh -t K80", "python -m train", "python train.py --metric x", "./setup.sh",
        "./x -z", "", '"python x" -t K80',
    ],
)  # fmt: skip
def test_ordinary_commands_are_not_noticed(line: str) -> None:
    assert swallowed_options(shlex.split(line), WITH_VALUE, FLAGS) == []


@given(
    st.lists(st.sampled_from(["-t", "K80", "--json", "--", "python", "a b", "--x=1", "-f", "", "-", "-ft"]))
)
def test_no_word_is_lost_or_reordered(args: list[str]) -> None:
    try:
        options, words = split_command(args, WITH_VALUE, FLAGS)
    except UsageError:
        return
    given_words = list(args)
    for word in [*options, *words]:
        given_words.remove(word)
    assert given_words in ([], ["--"])
