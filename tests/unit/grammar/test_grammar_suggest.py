"""Did you mean."""

from __future__ import annotations

import pytest

from augury.grammar.suggest import did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "known", "near"),
    [
        ("rat", ["rate", "layers"], "rate"),
        ("conv2_filters", ["conv2_filter"], "conv2_filter"),
        ("conv2_kernal", ["conv2_filter", "conv2_kernel"], "conv2_kernel"),
        ("RATE", ["rate"], "rate"),
        ("learning-rate", ["learning_rate"], "learning_rate"),
        ("lyaers", ["layers"], "layers"),
        ("LR", ["lr"], "lr"),
        ("lgo", ["linear", "log", "reverse_log"], "log"),
        ("layer1", ["layer2", "layer1x"], "layer2"),
    ],
)
def test_a_slip_finds_its_word(word: str, known: list[str], near: str) -> None:
    assert nearest(word, known) == near


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("a", ["b"]),
        ("lr", ["l"]),
        ("port", ["rate"]),
        ("host", ["rate", "layers"]),
        ("x", []),
        ("ab", ["abcdef"]),
    ],
)
def test_other_words_are_not_near(word: str, known: list[str]) -> None:
    assert nearest(word, known) is None


def test_the_phrase_is_empty_when_nothing_is_near() -> None:
    assert did_you_mean("cubic", ["linear", "log"]) == ""
    assert did_you_mean("lgo", ["linear", "log"]) == "; did you mean 'log'?"
