"""Grid and random: order, size, distributions, independence."""

from __future__ import annotations

import statistics
from collections import Counter

import pytest

from augury_samplers import Choice, Parameter, Range, Space, Value, create
from augury_samplers.draws import bits, uniform

DRAWS = 4000


def drawn(parameter: Parameter, count: int = DRAWS, seed: int = 1) -> list[Value]:
    sampler, space = create("random"), Space([parameter])
    suggestions = (sampler.suggest(space, [], [], seed, index, None)[0] for index in range(count))
    return [suggestion.values[parameter.name] for suggestion in suggestions if suggestion is not None]


def test_the_grid_of_the_manual_has_sixteen_runs_rate_slowest() -> None:
    space = Space([Choice("rate", ("0.001", "0.01", "0.1", "1")), Choice("layers", ("2", "3", "5", "10"))])
    sampler = create("grid")
    assert sampler.size(space) == 16
    points = [sampler.suggest(space, [], [], 0, index, None)[0] for index in range(17)]
    values = [tuple(point.values.values()) for point in points[:16] if point is not None]
    assert values == [(r, n) for r in ("0.001", "0.01", "0.1", "1") for n in ("2", "3", "5", "10")]
    assert points[16] is None


def test_a_grid_of_a_billion_billion_combinations_costs_nothing() -> None:
    space = Space([Choice(f"p{i}", tuple(range(1000))) for i in range(6)])
    sampler = create("grid")
    assert sampler.size(space) == 10**18
    suggestion, _ = sampler.suggest(space, [], [], 0, 10**18 - 2, None)
    assert suggestion is not None
    assert list(suggestion.values.values()) == [999] * 5 + [998]


def test_a_grid_refuses_a_range_by_name() -> None:
    with pytest.raises(ValueError, match="parameter 'rate' is a range: list its values"):
        create("grid").size(Space([Choice("n", (1,)), Range("rate", 0, 1)]))


def test_log_has_its_median_at_the_geometric_mean() -> None:
    rates = drawn(Range("rate", 0.001, 1.0, "log"))
    assert all(0.001 <= rate <= 1.0 for rate in rates)  # type: ignore[operator]
    assert statistics.median(rates) == pytest.approx(0.0316, rel=0.15)  # type: ignore[type-var]


def test_linear_ints_and_choices_are_even_and_the_ends_keep_their_share() -> None:
    layers = Counter(drawn(Range("layers", 2, 11, "linear", "int")))
    assert sorted(layers) == list(range(2, 12))  # type: ignore[type-var]
    assert all(count == pytest.approx(DRAWS / 10, rel=0.2) for count in layers.values())
    cells = Counter(drawn(Choice("cell", ("gru", "lstm", "rnn"))))
    assert all(cells[cell] == pytest.approx(DRAWS / 3, rel=0.1) for cell in ("gru", "lstm", "rnn"))


def test_log_ints_are_rounded_from_the_widened_range() -> None:
    counts = Counter(drawn(Range("n", 1, 10, "log", "int")))
    assert sorted(counts) == list(range(1, 11))  # type: ignore[type-var]
    # P(n) = log((n + 1/2) / (n - 1/2)) / log(21)
    assert counts[1] == pytest.approx(0.361 * DRAWS, rel=0.1)
    assert counts[10] == pytest.approx(0.0329 * DRAWS, rel=0.35)


def test_reverse_log_is_dense_near_the_maximum() -> None:
    momenta = drawn(Range("m", 0.9, 0.999, "reverse_log"))
    assert all(0.9 <= m <= 0.999 for m in momenta)  # type: ignore[operator]
    assert statistics.median(momenta) == pytest.approx(0.99, abs=0.001)  # type: ignore[type-var]
    mirrored = drawn(Range("m", 1, 100, "reverse_log"))
    assert statistics.median(mirrored) == pytest.approx(91, abs=1.5)  # type: ignore[type-var]


def test_uniform_floats_have_the_mean_and_spread_of_their_range() -> None:
    values = [float(value) for value in drawn(Range("dropout", 0.2, 0.5))]
    assert statistics.mean(values) == pytest.approx(0.35, abs=0.005)
    assert statistics.stdev(values) == pytest.approx(0.3 / 12**0.5, rel=0.03)


def test_a_draw_depends_on_seed_index_and_its_own_parameter_alone() -> None:
    sampler = create("random", num_runs=10)
    rate, layers = Range("rate", 0.001, 1.0, "log"), Range("layers", 2, 100, "linear", "int")
    alone, _ = sampler.suggest(Space([rate]), [], [], 3, 5, None)
    together, _ = sampler.suggest(Space([layers, rate]), [], [], 3, 5, None)
    assert alone is not None
    assert together is not None
    assert alone.values["rate"] == together.values["rate"]
    assert drawn(rate, 5, seed=3)[-1] != alone.values["rate"] != drawn(rate, 6, seed=4)[-1]


def test_equal_parameters_of_other_names_are_drawn_independently() -> None:
    a = [float(value) for value in drawn(Range("a", 0, 1))]
    b = [float(value) for value in drawn(Range("b", 0, 1))]
    assert abs(statistics.correlation(a, b)) < 0.05
    assert abs(statistics.correlation(a[1:], a[:-1])) < 0.05


def test_draws_are_the_same_bits_on_every_machine_and_version() -> None:
    recorded = 2476310785909101840
    assert bits(7, "random", 0, "rate") == recorded
    assert uniform(7, "random", 0, "rate") == recorded // 2**11 / 2**53
    assert uniform(-1, "é\x00\ud800", 2**80) < 1.0
    rates = drawn(Range("rate", 0.001, 1.0, "log"), 2, seed=7)
    assert rates == [0.0025276866229819875, 0.02873525215259032]
