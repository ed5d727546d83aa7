"""The Python examples of the old product, with local code; prints the rows of the first as JSON."""

import json

import augury
from augury import RangeSpec, ValueSpec

client = augury.Client()

search = client.hyper.new_grid_search(
    {"a": ValueSpec([0, 2, 4]), "b": ValueSpec([1.3, 1.7])},
    command="python basic.py --start :a: --stepsize :b: --steps 5 --pause 0.02",
)
assert len(search.runs) == 6
rows = []
for run in search.runs:
    run.wait_status(*client.runs.FINAL)
    run.refresh()
    assert run.status == client.runs.COMPLETE, run.status
    assert run.user_exit_code == 0
    rows.append([round(point[2], 5) for point in run.metrics("value")])
    assert [point[1] for point in run.metrics("value")] == list(range(5))
print(json.dumps(rows))

echo = client.hyper.new_grid_search(
    {"a": ValueSpec([0, 2, 4]), "b": ValueSpec([1.3, 1.7])}, command="echo :a: :b:"
)
echo.wait()
logs = [entry.log.strip() for run in echo.runs for entry in run.logs() if entry.log]
assert "4 1.7" in logs, logs

drawn = client.hyper.new_random_search(
    {"f": RangeSpec(16, 128, scaling="linear", type="int"), "d": RangeSpec(0.2, 0.5)},
    num_runs=12,
    command="sleep 60; echo :f: :d:",
)
assert len(drawn.runs) == 12
params = drawn.runs[0].hyper_params
assert isinstance(params["f"], int)
assert isinstance(params["d"], float)
assert f"{params['f']} {params['d']!r}" in drawn.runs[0].command
drawn.refresh()
drawn.kill()

single = client.runs.new(command="echo Hello World > hello; cat hello")
single.wait_status(client.runs.COMPLETE)
assert any("Hello World" in (entry.log or "") for entry in single.logs())
