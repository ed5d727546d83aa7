"""`--env` and `--metric-regex`."""

from __future__ import annotations

import pytest

from augury.errors import UsageError
from augury.grammar.parameters import parse_env, parse_metric_regex


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("A=1", ("A", "1")),
        ("A=", ("A", "")),
        ("OPTS=--x=1 --y", ("OPTS", "--x=1 --y")),
        ("_a9=é\n", ("_a9", "é\n")),
        ("AUGURY_URL=http://h", ("AUGURY_URL", "http://h")),
    ],
)
def test_the_first_equals_sign_splits_a_variable(text: str, pair: tuple[str, str]) -> None:
    assert parse_env(text) == pair


@pytest.mark.parametrize(
    ("text", "piece", "fix"),
    [
        ("A", "'='", "KEY=VALUE"),
        ("=1", "no name", "KEY=VALUE"),
        ("1A=2", "'1A'", "letter"),
        ("A B=2", "'A B'", "letter"),
        ("É=1", "'É'", "letter"),
        ("A=x\0", "NUL", "file"),
        ("A=\udc80", "UTF-8", "file"),
        ("A=" + "x" * 131_072, "longer", "file"),
        ("AUGURY_RUN_ID=1", "Augury", "another name"),
        ("AUGURY_PARAM_RATE=1", "Augury", "another name"),
    ],
)
def test_a_bad_variable_is_refused_by_name(text: str, piece: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_env(text)
    message = str(caught.value)
    assert message.startswith("--env ")
    assert piece in message
    assert fix in message


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        (r"loss=loss: ([\d.]+)", ("loss", r"loss: ([\d.]+)")),
        (" keras/val acc =acc=(.+)", ("keras/val acc", "acc=(.+)")),
        ("x=(?:a|b)=(?P<value>.*)", ("x", "(?:a|b)=(?P<value>.*)")),
    ],
)
def test_a_metric_regex_is_a_name_and_an_expression(text: str, pair: tuple[str, str]) -> None:
    assert parse_metric_regex(text) == pair


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("loss", "'='"),
        ("=(.*)", "no name"),
        ("  =(.*)", "no name"),
        ("loss=(", "not valid"),
        ("loss=x{2,1}(y)", "not valid"),
        ("loss=[0-9]+", "0 groups"),
        ("loss=(a)(b)", "2 groups"),
        ("loss=(\0)", "NUL"),
    ],
)
def test_a_bad_metric_regex_is_refused(text: str, piece: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_metric_regex(text)
    assert str(caught.value).startswith("--metric-regex ")
    assert piece in str(caught.value)
