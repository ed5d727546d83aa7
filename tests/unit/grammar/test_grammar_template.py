"""Command templates: what is replaced, what is refused, what is noticed. No shell runs here."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from augury.errors import UsageError
from augury.grammar.template import (
    check,
    check_values,
    command_from_words,
    display,
    environment_of,
    render,
)
from augury.spec import Command, ParameterSpec, RangeSpec, ValueSpec


def refused(words: list[str], names: list[str]) -> str:
    with pytest.raises(UsageError) as caught:
        check(command_from_words(words), names)
    assert str(caught.value).isprintable()
    return str(caught.value)


def noticed(words: list[str], names: list[str]) -> list[str]:
    return check(command_from_words(words), names)


# --- from words to a command


def test_one_word_with_white_space_is_a_shell_line() -> None:
    for line in ("python t.py :a:", "a\tb", "a\nb", " x"):
        assert command_from_words([line]) == Command(shell=line)


def test_other_words_are_an_argv() -> None:
    assert command_from_words(["./train"]) == Command(argv=("./train",))
    assert command_from_words(["python", "a b", ""]) == Command(argv=("python", "a b", ""))


@pytest.mark.parametrize(
    ("words", "piece"),
    [
        ([], "there is no command"),
        ([""], "there is no command"),
        ([" "], "first word of the command is empty"),
        (["", "x"], "first word of the command is empty"),
        (["-t", "K80", "python"], "starts with '-t', which looks like an option"),
        (["--lr :lr: x"], "starts with '--lr'"),
    ],
)
def test_what_is_no_command_is_refused(words: list[str], piece: str) -> None:
    with pytest.raises(UsageError, match=piece):
        command_from_words(words)


# --- substitution in an argv


def test_the_manuals_command() -> None:
    command = command_from_words(
        ["python", "train.py", "--learning_rate", ":rate:", "--num_layers", ":layers:"]
    )
    assert check(command, ["rate", "layers"]) == []
    rendered = render(command, {"rate": "0.001", "layers": "2"})
    assert display(rendered) == "python train.py --learning_rate 0.001 --num_layers 2"


@pytest.mark.parametrize(
    ("word", "rendered"),
    [
        (":a:", "1"),
        ("--lr=:a:", "--lr=1"),
        (":a::b:", "12"),
        (":a:::b:", "1:2"),
        ("host:port:a:", "host:port1"),
        (":a: :a:", "1 1"),
        ("::a::", ":1:"),
        (":A:", ":A:"),
        (":a :b:", ":a 2"),
        ("12:30:00", "12:30:00"),
        ("http://h:80/:b:", "http://h:80/2"),
        (r"\:a:", r"\1"),
        ("':a:'", "'1'"),
        (":long-name_1:", "x"),
    ],
)
def test_placeholders_are_replaced_wherever_they_stand(word: str, rendered: str) -> None:
    texts = {"a": "1", "b": "2", "long-name_1": "x"}
    assert render(Command(argv=("p", word)), texts).argv == ("p", rendered)


def test_a_value_is_not_expanded_again() -> None:
    command = render(Command(argv=("p", ":a:", ":b:")), {"a": ":b:", "b": ":a:"})
    assert command.argv == ("p", ":b:", ":a:")
    line = render(Command(shell="p :a: :b:"), {"a": ":b:", "b": ":a:"})
    assert line.shell == "p :b: :a:"


def test_values_keep_the_spelling_of_the_user() -> None:
    for text in ("0.00000001", "007", "1e4", "1_000", "nan", "-0", "a b", "$HOME", "é💫", ""):
        assert render(Command(argv=("p", "x=:a:")), {"a": text}).argv == ("p", f"x={text}")


NAME = st.sampled_from(["a", "b", "rate", "a-b", "A", "a_"])
WORD = st.lists(
    st.one_of(NAME.map(lambda n: f":{n}:"), st.sampled_from(["x", "=", "/", " ", "$", "-"])), max_size=5
)
TEXT = st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)


@given(st.lists(WORD, min_size=1, max_size=5), TEXT, TEXT)
def test_an_argv_keeps_its_words_and_each_value_stands_where_its_name_stood(
    words: list[list[str]], one: str, other: str
) -> None:
    texts = {"a": one, "b": other, "rate": "1", "a-b": ":a:", "A": "", "a_": "\n"}
    command = Command(argv=("p", *("".join(word) for word in words)))
    expected = ["".join(texts.get(piece.strip(":"), piece) for piece in word) for word in words]
    assert render(command, texts).argv == ("p", *expected)


def test_the_environment_of_a_run() -> None:
    assert environment_of({"rate": "0.1", "conv3-filters": "a b", "A_b": ""}) == {
        "AUGURY_PARAM_RATE": "0.1",
        "AUGURY_PARAM_CONV3_FILTERS": "a b",
        "AUGURY_PARAM_A_B": "",
    }


# --- parameters and placeholders that do not meet


@pytest.mark.parametrize(
    ("words", "names", "pieces"),
    [
        (["python", "t.py"], ["rate"], ["'rate' is not used", "write ':rate:' where"]),
        (
            ["python", "t.py", ":rat:"],
            ["rate"],
            ["'rate' is not used", "has ':rat:', and no", "did you mean --param rat=…?", "write ':rate:'"],
        ),
        (
            ["t", "--width", ":width:"],
            ["widht"],
            ["the command has ':width:', and no parameter of that name: did you mean --param width=…?"],
        ),
        (["t", ":rl:"], ["lr"], ["':lr:' is not in the command, and no parameter feeds ':rl:', which is;"]),
        (["python t.py :rat:"], ["rate"], ["write ':rate:' in"]),
        (["t", ":conv2_filters:"], ["conv2_filter"], ["did you mean --param conv2_filters=…?"]),
        (["t", ":learning:"], ["learning_rate"], ["--param learning=…? (or write ':learning_rate:'"]),
        (["t", ":Rate:"], ["rate"], ["write ':rate:' in"]),
        (["t", ":rate:", ":rat:"], ["rate"], ["no parameter feeds ':rat:'", "':rate:'?", "rename"]),
        (["t", "{rate}"], ["rate"], ["write ':rate:' instead of '{rate}'"]),
        (["t $rate"], ["rate"], ["instead of '$rate'"]),
        (["t ${rate}"], ["rate"], ["instead of '${rate}'"]),
        (["t", "{{rate}}"], ["rate"], ["instead of '{{rate}}'"]),
        (["t", "<rate>"], ["rate"], ["instead of '<rate>'"]),
        (["t", ":rate"], ["rate"], ["instead of ':rate'"]),
        (["t", "--rate", "rate"], ["rate"], ["write ':rate:' where its value belongs"]),
        (["t", ":a:b:"], ["a", "b"], ["':a:' and ':b:' cannot share a colon", "':a::b:'", "':a:::b:'"]),
        (["t", ":a:b:", ":b:"], ["a", "b"], ["cannot share a colon"]),
        (["t :a: # :b:"], ["a", "b"], ["'b' is not used", "only in a comment"]),
    ],
)
def test_parameters_and_placeholders_must_meet(words: list[str], names: list[str], pieces: list[str]) -> None:
    message = refused(words, names)
    assert all(piece in message for piece in pieces), message


@pytest.mark.parametrize(
    "words",
    [
        ["python t.py :a: --at 12:30:00 --url http://h:80/x"],
        ["t", ":a:", "12:30:00", "http://h:80/x", "host:port"],
        ["PYTHONPATH=$P:/x:/y python :a:"],
        ["t", ":a:", "std::vector::iterator", "fe80::1:2"],
        ["t", ":a:", "2024-01-01T00:00:00", "redis://u:p@h:1/0", "::", ":", "a:", ":b"],
        ["echo ${x:-y} :a:"],
    ],
)
def test_other_colons_are_left_alone(words: list[str]) -> None:
    assert noticed(words, ["a"]) == []


def test_an_unknown_placeholder_is_a_notice_once() -> None:
    for words in (["t", ":a:", "-v", "/src:data:ro", ":data:"], ["t :a: -v /src:data:ro :data:"]):
        assert noticed(words, ["a"]) == ["':data:' in the command is not a parameter and stays as it is"]
    assert noticed(["t", ":x::y:"], []) == [
        "':x:' in the command is not a parameter and stays as it is",
        "':y:' in the command is not a parameter and stays as it is",
    ]


def test_a_mention_of_the_variable_uses_the_parameter() -> None:
    assert noticed(["cat <<EOF\n${AUGURY_PARAM_LR}\nEOF\n"], ["lr"]) == []
    assert noticed(['python t.py "$AUGURY_PARAMS"'], ["lr", "x"]) == []
    assert "not used" in refused(["echo $AUGURY_PARAM_LRX"], ["lr"])


def test_a_command_that_cannot_be_started_is_refused() -> None:
    for command in (Command(argv=("a\0",)), Command(shell="a \udcff"), Command(argv=("a", "x" * 131_072))):
        with pytest.raises(UsageError, match="cannot be run"):
            check(command, [])


# --- notices


@pytest.mark.parametrize(
    ("words", "pieces"),
    [
        (["python", "t.py", "$DATA", ":a:"], ["'$DATA'"]),
        (["python", "--x=${DATA}/:a:"], ["'--x=${DATA}/:a:'"]),
        (["python", "$(date)", ":a:"], ["'$(date)'"]),
        (["python", ":a:", "|", "tee", "log"], ["'|'", "'python :a: | tee log'"]),
        (["python", ":a:", ">", "log"], ["'>'"]),
        (["python", ":a:", ">log", "2>&1"], ["'>log', '2>&1'"]),
        (["cd", "src", "&&", "python", ":a:"], ["'cd', '&&'"]),
        (["A=1", "python", ":a:"], ["'A=1'"]),
        (["source", ":a:"], ["'source'"]),
        (["./x>:a:"], ["'./x>:a:'"]),
    ],
)
def test_words_that_want_a_shell_are_noticed(words: list[str], pieces: list[str]) -> None:
    (notice,) = noticed(words, ["a"])
    assert "quote the whole command: " in notice
    assert all(piece in notice for piece in pieces), notice


@pytest.mark.parametrize(
    "words",
    [
        ["awk", "{print $1}", ":a:"],
        ["bash", "-c", "cd $X && python :a: > log"],
        ["/bin/sh", "-ec", "x=$(date); echo :a:"],
        ["python", "t.py", "A=1", "cd", ":a:"],
        ["python", "t.py", ">=1.0", "<pad>", "a>b", "a|b", ":a:"],
        ["env", "A=1", "python", ":a:"],
    ],
)
def test_ordinary_words_are_not_noticed(words: list[str]) -> None:
    assert noticed(words, ["a"]) == []


def test_a_quoted_command_with_words_after_it_is_noticed() -> None:
    (notice,) = noticed(["python t.py :a:", "-t", "K80"], ["a"])
    assert "the program is 'python t.py :a:', white space included" in notice


def test_a_value_that_looks_like_an_option_is_noticed_where_it_starts_a_word() -> None:
    space = {"a": ValueSpec(("x", "--fast"))}
    for words in (["t", ":a:"], ["t :a:"], ['t ":a:"'], ["t ':a:x'"], ["t x=$(f :a:)"]):
        (notice,) = check_values(command_from_words(words), space)
        assert "'--fast' of 'a' starts with '-'" in notice
        assert "--option=:a:" in notice
    for words in (["t", "--x=:a:"], ["t --x=:a:"], ['t "x :a:"']):
        assert check_values(command_from_words(words), space) == []
    numbers: dict[str, ParameterSpec] = {"a": ValueSpec((-1, -0.5)), "b": RangeSpec(-2, -1)}
    assert check_values(Command(argv=("t", ":a:", ":b:")), numbers) == []


@pytest.mark.parametrize(
    "words", [["bash", "-c", "echo :a:"], ["bash -c 'echo :a:'"], ["ssh", "h", ":a:"], ['eval "echo :a:"']]
)
def test_a_rough_value_for_a_second_shell_is_noticed(words: list[str]) -> None:
    command = command_from_words(words)
    (notice,) = check_values(command, {"a": ValueSpec(("x", "a b"))})
    assert "second shell" in notice
    assert "$AUGURY_PARAM_A" in notice
    assert check_values(command, {"a": ValueSpec(("x", "0.1"))}) == []


def test_commands_too_long_for_linux_are_refused_before_anything_starts() -> None:
    command = Command(argv=("t", ":a::a:"))
    assert check_values(command, {"a": ValueSpec(("x" * 65_000, "y"))}) == []
    with pytest.raises(UsageError, match="with the longest values the command is longer than"):
        check_values(command, {"a": ValueSpec(("y", "é" * 33_000))})
    line = Command(shell="t " + ":a: " * 3)
    with pytest.raises(UsageError, match="longest values"):
        check_values(line, {"a": ValueSpec(("x" * 50_000,))})
    assert check_values(line, {"a": ValueSpec(("x " * 25_000,))}) == []


# --- display


def test_an_argv_is_shown_so_that_a_shell_would_read_it_back() -> None:
    words = ("echo", "a b", "it's", "", "x\ny", "\x1b[31m\t\\'", "é💫", "$HOME", "\x85\u2028\U000e0001")
    shown = display(Command(argv=words))
    assert shown.isprintable()
    assert shown.startswith("echo 'a b'")
    script = "printf '%s\\0' " + shown.removeprefix("echo ")
    out = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        check=True,
        env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )
    assert out.stdout.decode().split("\0")[:-1] == list(words[1:])


def test_a_shell_line_is_shown_as_it_is_on_one_line() -> None:
    assert display(Command(shell="cd src && python t.py :rate:")) == "cd src && python t.py :rate:"
    assert display(Command(shell="a\nb\x1b[0m " + "x" * 500)) == "a\\nb\\x1b[0m " + "x" * 500


@given(st.lists(TEXT, min_size=1))
def test_display_quotes_printable_words_as_shlex_does(words: list[str]) -> None:
    shown = display(Command(argv=tuple(words)))
    assert shown.isprintable()
    if all(word.isprintable() for word in words):
        assert shlex.split(shown) == words
