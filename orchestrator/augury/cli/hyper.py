"""`augury hyper grid | random | bayesian`: submit a search."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from typer import Typer

from augury.cli import lazy, searches
from augury.cli.command import COMMAND_LINE, SubmitCommand, takes
from augury.cli.helping import AuguryGroup
from augury.cli.notices import progress, say
from augury.cli.options import NEEDED, GridOptions, OneJudgedSearch, SampledOptions
from augury.cli.output import renderer
from augury.errors import UsageError

if TYPE_CHECKING:
    from augury.client.client import Client
    from augury.spec import Kind

app = Typer(
    name="hyper",
    cls=AuguryGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Hyperparameter searches over any command.",
)
searches.register(app)


@app.command(cls=SubmitCommand, context_settings=COMMAND_LINE, rich_help_panel="Start a search")
@takes(
    GridOptions,
    r"""
    augury hyper grid --param rate=0.001,0.01,0.1 --param layers=2,3,5 -- \
        python train.py --learning_rate :rate: --num_layers :layers:
    augury hyper grid --param size=16,32 --metric val_acc "cd src && python train.py :size: > log.txt"
    """,
    needed=("command", "param"),
)
def grid(options: GridOptions) -> None:
    """Run a command with every combination of the values.

    The last parameter moves fastest. A comma separates values; each is put into the command as typed.
    """
    _submit("grid", options)


@app.command(cls=SubmitCommand, context_settings=COMMAND_LINE, rich_help_panel="Start a search")
@takes(
    SampledOptions,
    r"""
    augury hyper random --num-runs 10 --param rate=.001:1.0:log --param cell=gru,lstm -- \
        python train.py --learning_rate :rate: --cell_type :cell:
    """,
    needed=("command", "param", *NEEDED["random"]),
)
def random(options: SampledOptions) -> None:
    """Run a command with values drawn at random, each run independently.

    A parameter is a list V,V... or a range MIN:MAX[:scaling][:type], scaling one of linear, log, reverse_log,
    type float or int.
    """
    _submit("random", options)


@app.command(cls=SubmitCommand, context_settings=COMMAND_LINE, rich_help_panel="Start a search")
@takes(
    SampledOptions,
    r"""
    augury hyper bayesian --num-runs 12 --parallel-runs 3 --metric keras/val_acc --metric-agg last \
        --param rate=.001:1.0:log --param layers=2:100:int -- \
        python train.py --learning_rate :rate: --num_layers :layers:
    """,
    needed=("command", "param", *NEEDED["bayesian"]),
)
def bayesian(options: SampledOptions) -> None:
    """Run a command with values chosen by what earlier runs have shown.

    Parameters are those of `random`. At most --parallel-runs are in flight; each new one knows all results.
    """
    _submit("bayesian", options)


def _submit(kind: Kind, options: GridOptions) -> None:
    out = renderer(options)
    if options.watch and (options.json or options.quiet or options.dry_run):
        raise UsageError("--watch draws a live table, so it excludes --json, --quiet and --dry-run")
    spec, notices = lazy.submitting.search_spec(kind, options)
    for notice in notices:
        say(notice)
    client = lazy.Client(notify=progress)
    if not options.dry_run:
        spec, more = lazy.ship(client, spec, options.snapshot, progress)
        for notice in more:
            say(notice)
    answer = client.submit(spec, options.dry_run)
    for notice in answer["notices"]:
        if notice not in notices:
            say(notice)
    search = answer["search"]
    out.cast(search, _all_runs(client, search), options.dry_run)
    if options.watch:
        lazy.watching.watch(client, search["id"], OneJudgedSearch(search=search["id"]))


def _all_runs(client: Client, search: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the runs that came with the answer, then those that did not fit into it."""
    included = search["runs"]
    yield from included
    if search["id"] is not None and len(included) < search["created_runs"]:
        yield from client.iter_runs(search["id"], included[-1]["id"] if included else None)
