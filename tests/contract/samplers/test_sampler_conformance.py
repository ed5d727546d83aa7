"""What every sampler owes its callers, whoever wrote it: run on all registered ones."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sampler_strategies import Asked, asked, spaces

from augury_samplers import Choice, Observation, Range, Sampler, Space, Value, create, names

EXAMPLES = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
LISTS_ONLY = {"grid"}
NUM_RUNS = st.sampled_from([None, 1, 7, 30, 10**6])

every_sampler = pytest.mark.parametrize("name", names())


def ask(data: st.DataObject, name: str) -> tuple[Sampler, Asked, int | None]:
    num_runs = data.draw(NUM_RUNS)
    return create(name, num_runs=num_runs), data.draw(asked(lists_only=name in LISTS_ONLY)), num_runs


def right_type(space: Space, values: dict[str, Value]) -> bool:
    for parameter in space.parameters:
        value = values[parameter.name]
        if isinstance(parameter, Choice):
            if not any(value is known for known in parameter.values):
                return False
        elif type(value) is not (int if parameter.type == "int" else float) or not math.isfinite(value):
            return False
    return True


@every_sampler
@EXAMPLES
@given(data=st.data())
def test_suggestions_lie_in_the_space_and_have_its_types(name: str, data: st.DataObject) -> None:
    sampler, call, _ = ask(data, name)
    suggestion, _ = sampler.suggest(*call.arguments)
    if suggestion is not None:
        assert suggestion.values in call.space
        assert tuple(suggestion.values) == call.space.names
        assert right_type(call.space, dict(suggestion.values))
        assert suggestion.source


@every_sampler
@EXAMPLES
@given(data=st.data())
def test_the_answer_depends_on_the_arguments_alone_and_changes_none(name: str, data: st.DataObject) -> None:
    sampler, call, num_runs = ask(data, name)
    before = copy.deepcopy(call.arguments)
    answer = sampler.suggest(*call.arguments)
    assert repr(call.arguments) == repr(before)
    sampler.suggest(call.space, [], [], call.seed + 1, call.index + 1, None)
    assert repr(sampler.suggest(*call.arguments)) == repr(answer)
    assert repr(create(name, num_runs=num_runs).suggest(*before)) == repr(answer)


@every_sampler
@EXAMPLES
@given(data=st.data())
def test_the_memo_is_small_json_and_survives_the_store(name: str, data: st.DataObject) -> None:
    sampler, call, _ = ask(data, name)
    _, memo = sampler.suggest(*call.arguments)
    text = json.dumps(memo, allow_nan=False)
    assert len(text.encode()) <= 4096
    arguments = call.arguments[:5]
    assert repr(sampler.suggest(*arguments, json.loads(text))) == repr(sampler.suggest(*arguments, memo))


@every_sampler
@EXAMPLES
@given(data=st.data())
def test_only_adaptive_samplers_look_at_observations_and_never_repeat(name: str, data: st.DataObject) -> None:
    sampler, call, _ = ask(data, name)
    suggestion, _ = sampler.suggest(*call.arguments)
    if sampler.adaptive:
        taken = [*call.pending, *(observation.values for observation in call.observations)]
        assert suggestion is None or suggestion.values not in taken
    else:
        assert sampler.suggest(call.space, [], [], call.seed, call.index, None)[0] == suggestion


@every_sampler
@settings(EXAMPLES, max_examples=25)
@given(data=st.data())
def test_a_space_is_searched_to_its_size_and_then_exhausted(name: str, data: st.DataObject) -> None:
    sampler = create(name, num_runs=data.draw(NUM_RUNS))
    space = data.draw(spaces(lists_only=name in LISTS_ONLY))
    size = sampler.size(space)
    if size is not None and size > 24:
        size = 24
    observations: list[Observation] = []
    memo = None
    for index in range(24 if size is None else size):
        suggestion, memo = sampler.suggest(space, observations, [], 5, index, memo)
        if suggestion is None:  # only a range of a few neighbouring floats may end a space without a size
            assert sampler.size(space) is None
            return
        observations.append(Observation(suggestion.values, float(index % 3)))
    if size is not None:
        points = {tuple(observation.values.values()) for observation in observations}
        assert len(points) == size
    if size is not None and size == sampler.size(space):
        assert sampler.suggest(space, observations, [], 5, size, memo)[0] is None


@every_sampler
def test_a_space_that_cannot_be_searched_is_refused_by_size_and_by_suggest_alike(name: str) -> None:
    space = Space([Choice("cell", ("gru", "lstm")), Range("rate", 0.001, 1.0, "log")])
    sampler = create(name)
    if name in LISTS_ONLY:
        with pytest.raises(ValueError, match="'rate'"):
            sampler.size(space)
        with pytest.raises(ValueError, match="'rate'"):
            sampler.suggest(space, [], [], 1, 0, None)
    else:
        assert sampler.size(space) is None


PROGRAM = """
from augury_samplers import *
space = Space([Choice("cell", ("gru", "lstm", "rnn")), Choice("layers", (1, 2, 3, 4))])
sampler = create({name!r}, num_runs=12)
observations, memo = [], None
for index in range(12):
    suggestion, memo = sampler.suggest(space, observations, [], 11, index, memo)
    observations.append(Observation(suggestion.values, float(index * 7 % 5)))
print([dict(observation.values) for observation in observations])
"""


@every_sampler
def test_another_process_searches_alike(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = PROGRAM.format(name=name)
    exec(program, {})
    here = capsys.readouterr().out
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert there.stdout == here
