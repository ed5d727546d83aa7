"""The Bayesian sampler: better than chance, aware of what is in flight, hard to upset."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping

import pytest

from augury_samplers import Choice, Memo, Observation, Range, Sampler, Space, Value, create
from augury_samplers.bayesian import BayesianSampler
from augury_samplers.model import MODEL_SIZE, chosen

BRANIN = Space([Range("x", -5.0, 10.0), Range("y", 0.0, 15.0)])
Point = Mapping[str, Value]


def branin(point: Point) -> float:
    x, y = float(point["x"]), float(point["y"])
    bowl = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
    return -(bowl * bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def searched(
    sampler: Sampler,
    space: Space,
    objective: Callable[[Point], float | None],
    runs: int,
    seed: int = 0,
    parallel: int = 1,
) -> list[Observation]:
    """Run a whole search, keeping `parallel` runs in flight that land in the order they started."""
    observations: list[Observation] = []
    pending: list[Point] = []
    memo: Memo = None
    for index in range(runs):
        suggestion, memo = sampler.suggest(space, observations, pending, seed, index, memo)
        if suggestion is None:
            break
        pending.append(suggestion.values)
        if len(pending) == parallel:
            values = pending.pop(0)
            observations.append(Observation(values, objective(values)))
    return observations + [Observation(values, objective(values)) for values in pending]


def best(observations: list[Observation]) -> float:
    return max(o.objective for o in observations if o.objective is not None and o.succeeded)


@pytest.fixture(scope="module")
def median_of_random() -> float:
    return statistics.median(best(searched(create("random"), BRANIN, branin, 30, seed)) for seed in range(60))


@pytest.mark.parametrize("parallel", [1, 4])
def test_it_beats_the_median_of_random_on_branin(parallel: int, median_of_random: float) -> None:
    sampler = create("bayesian", num_runs=30)
    found = [best(searched(sampler, BRANIN, branin, 30, seed, parallel)) for seed in range(20)]
    assert sum(value > median_of_random for value in found) >= 18
    assert statistics.median(found) > -0.42  # the maximum is -0.398


def test_it_finds_the_best_of_a_mixed_space() -> None:
    space = Space(
        [
            Range("rate", 1e-5, 1.0, "log"),
            Range("width", 1, 64, "log", "int"),
            Choice("cell", ("gru", "lstm", "rnn")),
            Range("momentum", 0.5, 0.999, "reverse_log"),
        ]
    )

    def objective(point: Point) -> float:
        off = (math.log10(float(point["rate"])) + 2.5) ** 2 + (math.log2(float(point["width"])) - 4) ** 2 / 2
        off += {"gru": 0.5, "lstm": 0.0, "rnn": 2.0}[str(point["cell"])]
        return -off - (math.log10(1 - float(point["momentum"])) + 2) ** 2

    for seed in range(3):
        assert best(searched(create("bayesian", num_runs=40), space, objective, 40, seed)) > -0.1


def four_at_once(seed: int, told: bool) -> list[float]:
    """Return the distances between four suggestions made while nothing lands."""
    sampler = create("bayesian", num_runs=30)
    observations = searched(sampler, BRANIN, branin, 10, seed)
    suggested: list[Point] = []
    for index in range(10, 14):
        pending = suggested if told else []
        suggestion, _ = sampler.suggest(BRANIN, observations, pending, seed, index, None)
        assert suggestion is not None
        assert suggestion.source == "model"
        suggested.append(suggestion.values)
    places = [BRANIN.to_unit(values) for values in suggested]
    return [math.dist(a, b) for a, b in itertools.combinations(places, 2)]


def test_four_suggestions_at_once_are_distinct_and_spread() -> None:
    told = [four_at_once(seed, told=True) for seed in range(8)]
    untold = [four_at_once(seed, told=False) for seed in range(8)]
    assert min(map(min, told)) > 0.005
    assert statistics.median(map(max, told)) > 0.2
    assert statistics.median(map(min, told)) > 10 * statistics.median(map(min, untold))


def test_without_any_result_the_pending_runs_fill_the_space_evenly() -> None:
    sampler = create("bayesian", num_runs=100)
    pending: list[Point] = []
    for index in range(16):
        suggestion, _ = sampler.suggest(BRANIN, [], pending, 3, index, None)
        assert suggestion is not None
        assert suggestion.source == "start"
        pending.append(suggestion.values)
    places = [BRANIN.to_unit(values) for values in pending]
    assert len({(int(4 * x), int(4 * y)) for x, y in places}) == 16


@pytest.mark.parametrize(
    ("num_runs", "parameters", "start"),
    [(None, 2, 4), (30, 2, 4), (100, 20, 8), (9, 6, 3), (2, 3, 1), (1, 1, 1)],
)
def test_the_start_is_short(num_runs: int | None, parameters: int, start: int) -> None:
    space = Space([Range(f"x{i}", 0, 1) for i in range(parameters)])
    assert BayesianSampler(num_runs).start_runs(space) == start


def test_the_search_turns_from_exploring_to_using_what_it_knows() -> None:
    sampler = BayesianSampler(20)
    assert [sampler.kappa(done) for done in (0, 10, 20, 99)] == [2.0, 1.25, 0.5, 0.5]
    assert BayesianSampler().kappa(7) == 1.25
    with pytest.raises(ValueError, match="num_runs must be at least 1"):
        BayesianSampler(0)


def failing_beyond(point: Point, failure: float | None = None) -> float | None:
    return failure if float(point["x"]) > 2.5 else branin(point)


def test_failed_runs_teach_it_where_not_to_go() -> None:
    found = []
    for seed in range(5):
        observations = searched(create("bayesian", num_runs=30), BRANIN, failing_beyond, 30, seed)
        assert sum(not o.succeeded for o in observations[4:]) <= 8  # half of the space fails
        found.append(best(observations))
    assert statistics.median(found) > -0.5


@pytest.mark.parametrize("failure", [math.nan, -math.inf, math.inf])
def test_an_objective_that_is_not_finite_is_a_failure(failure: float) -> None:
    sampler = create("bayesian", num_runs=12)
    failed = searched(sampler, BRANIN, failing_beyond, 12)
    infinite = searched(sampler, BRANIN, lambda point: failing_beyond(point, failure), 12)
    assert [o.values for o in infinite] == [o.values for o in failed]


def test_when_everything_fails_it_goes_on_covering_the_space() -> None:
    observations = searched(create("bayesian", num_runs=30), BRANIN, lambda _: None, 16, 1)
    places = [BRANIN.to_unit(o.values) for o in observations]
    assert len({(int(4 * x), int(4 * y)) for x, y in places}) == 16


def test_one_absurd_objective_does_not_blind_it() -> None:
    for absurd in (-1e30, -1e308):
        landed = itertools.chain([None] * 6, [absurd], itertools.repeat(None))
        observations = searched(
            create("bayesian", num_runs=30), BRANIN, lambda p, each=landed: next(each) or branin(p), 30, 2
        )
        assert best(observations) > -1.0


def test_constant_and_tied_objectives_are_explored() -> None:
    for objective in (lambda p: 0.5, lambda p: float(float(p["x"]) > 9.0)):
        observations = searched(create("bayesian", num_runs=20), BRANIN, objective, 20, 1)
        places = [BRANIN.to_unit(o.values) for o in observations]
        assert len({(int(3 * x), int(3 * y)) for x, y in places}) >= 7


def test_it_does_not_look_again_at_what_it_knows() -> None:
    # Its model believes in the corner (10, 0) here; trying it over and over would be in vain.
    observations = searched(create("bayesian", num_runs=50), BRANIN, branin, 30, 3)
    places = [BRANIN.to_unit(o.values) for o in observations]
    close = sum(math.dist(a, b) < 1e-3 for a, b in itertools.combinations(places, 2))
    assert close <= 15
    assert best(observations) > -0.5


def test_spaces_of_choices_and_of_one_parameter_are_exhausted_without_repeats() -> None:
    lists = Space([Choice("a", tuple("abcdef")), Choice("b", (True, False)), Range("n", 1, 3, "log", "int")])
    observations = searched(
        create("bayesian", num_runs=100), lists, lambda p: float(len(str(p["b"]))) + float(p["n"]), 100
    )
    assert len({tuple(o.values.values()) for o in observations}) == len(observations) == 36
    line = Space([Range("n", 1, 9, "linear", "int")])
    observations = searched(create("bayesian", num_runs=100), line, lambda p: -abs(float(p["n"]) - 6), 100)
    assert sorted(o.values["n"] for o in observations) == list(range(1, 10))  # type: ignore[type-var]
    assert observations.index(next(o for o in observations if o.values["n"] == 6)) <= 7


def test_a_finite_space_too_large_to_look_through_is_exhausted_too() -> None:
    space = Space([Range("a", 1, 3000, "linear", "int")])
    sampler = create("bayesian", num_runs=5000)
    taken = [{"a": a} for a in range(1, 3001) if a != 1234]
    observations = [Observation(values, float(values["a"])) for values in taken]
    suggestion, _ = sampler.suggest(space, observations, [], 1, 2999, None)
    assert suggestion is not None
    assert suggestion.values == {"a": 1234}
    assert sampler.suggest(space, observations, [{"a": 1234}], 1, 3000, None)[0] is None


def test_a_range_of_two_neighbouring_floats_ends() -> None:
    space = Space([Range("x", 1.0, math.nextafter(1.0, 2.0))])
    assert len(searched(create("bayesian", num_runs=10), space, lambda p: 1.0, 10)) == 2


def test_the_memo_of_another_space_or_version_is_ignored() -> None:
    sampler = create("bayesian", num_runs=30)
    observations = searched(sampler, BRANIN, branin, 12)
    plain = sampler.suggest(BRANIN, observations, [], 0, 12, None)
    for memo in (
        {"v": 0, "n": 12, "theta": [0.0] * 4},
        {"v": 1, "n": 12, "theta": [0.0] * 9},
        {"v": 1, "n": "x"},
    ):
        assert sampler.suggest(BRANIN, observations, [], 0, 12, memo) == plain
    for theta in ([math.nan] * 4, [1e300] * 4, ["a"] * 4):
        assert sampler.suggest(BRANIN, observations, [], 0, 12, {"v": 1, "n": 12, "theta": theta}) == plain


def test_a_fit_is_spared_while_nothing_lands() -> None:
    sampler = create("bayesian", num_runs=30)
    observations = searched(sampler, BRANIN, branin, 12)
    _, memo = sampler.suggest(BRANIN, observations, [], 0, 12, None)
    assert memo is not None
    assert memo["n"] == 12
    assert sampler.suggest(BRANIN, observations, [], 0, 13, memo) == sampler.suggest(
        BRANIN, observations, [], 0, 13, None
    )
    _, later = sampler.suggest(BRANIN, [*observations, observations[0]], [], 0, 13, memo)
    assert later is not None
    assert later["n"] == 13


def test_thousands_of_observations_stay_affordable() -> None:
    space = Space([Range(f"x{i}", 0, 1) for i in range(6)])
    draws = searched(create("random"), space, lambda p: sum(map(float, p.values())), 3000)
    seen = chosen(draws, 1, 6)
    assert len(seen) == MODEL_SIZE
    assert seen[-1] is draws[-1]
    assert max(draws, key=lambda o: o.objective or 0.0) in seen
    later = chosen([*draws, *draws[:10]], 1, 6)
    assert len([o for o in later if o in seen]) > 0.9 * MODEL_SIZE
    start = time.process_time()
    suggestion, _ = create("bayesian", num_runs=10**9).suggest(
        space, draws[:-500], [o.values for o in draws[-500:]], 1, 3000, None
    )
    assert suggestion is not None
    assert time.process_time() - start < 5.0  # about 0.3 s on one free core


def test_hundreds_of_parameters_are_served() -> None:
    space = Space([Range(f"x{i}", 0, 1) for i in range(400)])
    observations = searched(create("bayesian", num_runs=40), space, lambda p: float(p["x0"]), 12)
    assert all(o.values in space for o in observations)
