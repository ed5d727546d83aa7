"""Every option of the command line, as dataclasses that commands take whole (see `command.takes`)."""

# No `from __future__ import annotations`: Typer needs these as objects, and text would be parsed at start-up.

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from typer import Argument, Option

from augury.cli import lazy

#: Options that a kind of search cannot do without, by their fields.
NEEDED: Mapping[str, tuple[str, ...]] = {
    "random": ("num_runs",),
    "bayesian": ("num_runs", "parallel_runs", "metric", "metric_agg"),
}

SEARCH, JUDGE, RUNS, HOW = "The search", "How runs are judged", "Its runs", "How to submit"


def _search_ids(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    return lazy.completing.search_ids(ctx, incomplete)


def _run_ids(ctx: Any, incomplete: str) -> list[tuple[str, str]]:
    return lazy.completing.run_ids(ctx, incomplete)


JsonFlag = Annotated[bool, Option("--json", help="Print one JSON value and nothing else.")]
QuietFlag = Annotated[bool, Option("-q", "--quiet", help="Print ids only.")]
SearchId = Annotated[
    int,
    Argument(
        metavar="ID", help="The search's number.", min=1, show_default=False, autocompletion=_search_ids
    ),
]
RunId = Annotated[
    int,
    Argument(metavar="RUN", help="The run's number.", min=1, show_default=False, autocompletion=_run_ids),
]
RunIds = Annotated[
    list[int],
    Argument(metavar="RUN...", help="Numbers of runs.", min=1, show_default=False, autocompletion=_run_ids),
]
AllFlag = Annotated[bool, Option("--all", help="Show those of all users.")]
Label = Annotated[str | None, Option("-l", "--label", metavar="LABEL", help="Only those with this label.")]
Metric = Annotated[
    str | None,
    Option("--metric", metavar="NAME", help="Judge runs by this metric.", rich_help_panel=JUDGE),
]


def _agg(default: str) -> Any:
    help = "Reduce its points to one number."
    return Option("-a", "--metric-agg", help=help, show_default=default, rich_help_panel=JUDGE)


def _goal(default: str) -> Any:
    return Option("--goal", help="Which end of it is best.", show_default=default, rich_help_panel=JUDGE)


Agg = Annotated[Literal["avg", "min", "max", "last"] | None, _agg("last")]
Goal = Annotated[Literal["maximize", "minimize"] | None, _goal("maximize")]


@dataclass(kw_only=True)
class Output:
    """What every command has: how to print."""

    json: JsonFlag = False
    quiet: QuietFlag = False


@dataclass(kw_only=True)
class Judged(Output):
    """Commands that can judge runs by another metric than their search's."""

    metric: Annotated[
        str | None,
        Option(
            "--metric",
            metavar="NAME",
            help="Judge runs by this metric.",
            show_default="the search's",
            rich_help_panel=JUDGE,
        ),
    ] = None
    metric_agg: Annotated[Literal["avg", "min", "max", "last"] | None, _agg("the search's")] = None
    goal: Annotated[Literal["maximize", "minimize"] | None, _goal("the search's")] = None


@dataclass(kw_only=True)
class OneSearch(Output):
    """Commands about one search."""

    search: SearchId


@dataclass(kw_only=True)
class OneJudgedSearch(Judged):
    """Commands about one search that judge its runs."""

    search: SearchId


@dataclass(kw_only=True)
class WaitOptions(OneSearch):
    """`hyper wait`."""

    timeout: Annotated[
        float | None, Option("--timeout", metavar="SECONDS", help="Give up after so long (exit 124).", min=0)
    ] = None


@dataclass(kw_only=True)
class ListOptions(Judged):
    """`hyper list`."""

    number: Annotated[int | None, Option("-n", "--number", metavar="N", help="Only the newest N.", min=1)] = (
        None
    )
    label: Label = None
    all: AllFlag = False


@dataclass(kw_only=True)
class DownloadOptions(OneSearch):
    """`hyper download-metrics`."""

    dest: Annotated[str, Option("-d", "--dest", metavar="FILE", help="Where to write; - is stdout.")] = (
        "metrics.csv"
    )
    force: Annotated[bool, Option("-f", "--force", help="Overwrite an existing file.")] = False


@dataclass(kw_only=True)
class ListRunsOptions(Output):
    """`ps`."""

    number: Annotated[int, Option("-n", "--number", metavar="N", help="Only the newest N.", min=1)] = 50
    label: Label = None
    state: Annotated[
        list[str] | None, Option("--state", metavar="STATE", help="Only runs in this state. Repeatable.")
    ] = None
    all: AllFlag = False


@dataclass(kw_only=True)
class OneRun(Output):
    """Commands about one run."""

    run: RunId


@dataclass(kw_only=True)
class SomeRuns(Output):
    """Commands about several runs."""

    runs: RunIds


OutputPath = Annotated[
    str, Argument(metavar="runs/RUN[/PATH]", help="A run, or a file or folder it left.", show_default=False)
]


@dataclass(kw_only=True)
class LsOptions(Output):
    """`ls`."""

    path: OutputPath
    quiet: Annotated[bool, Option("-q", "--quiet", help="Print names only, as `cp` takes them.")] = False


@dataclass(kw_only=True)
class CpOptions(Output):
    """`cp`."""

    source: OutputPath
    dest: Annotated[str, Argument(metavar="[DEST]", help="A folder, or the name of the copy.")] = "."
    quiet: Annotated[bool, Option("-q", "--quiet", help="Print the names of the copies only.")] = False
    force: Annotated[bool, Option("-f", "--force", help="Overwrite existing files.")] = False


@dataclass(kw_only=True)
class LogsOptions:
    """`logs`."""

    run: RunId
    json: Annotated[bool, Option("--json", help="Print each line of output as a JSON string.")] = False
    follow: Annotated[bool, Option("-f", "--follow", help="Go on until the run has ended.")] = False
    tail: Annotated[int | None, Option("-n", "--tail", metavar="N", help="Only the last N lines.", min=0)] = (
        None
    )
    raw: Annotated[bool, Option("--raw", help="Keep the output as it is, control sequences too.")] = False


# --- submitting ------------------------------------------------------------------------------------

CommandWords = Annotated[
    list[str] | None,
    Argument(
        metavar="COMMAND",
        help="What a run executes, each :NAME: replaced by a value. Either its words (best after --), or one "
        "quoted shell line.",
        show_default=False,
    ),
]


@dataclass(kw_only=True)
class RunSettings(Output):
    """What a run and the runs of a search have in common."""

    command: CommandWords = None
    param: Annotated[
        list[str] | None,
        Option("--param", metavar="NAME=SPEC", help="A parameter. Repeatable.", rich_help_panel=SEARCH),
    ] = None
    machine_type: Annotated[
        str | None,
        Option(
            "-t",
            "--machine-type",
            metavar="TYPE",
            help="Where to run, e.g. K80.",
            show_default="the server's, or the only one",
            rich_help_panel=RUNS,
        ),
    ] = None
    env: Annotated[
        list[str] | None,
        Option("-e", "--env", metavar="K=V", help="Set a variable. Repeatable.", rich_help_panel=RUNS),
    ] = None
    metric_regex: Annotated[
        list[str] | None,
        Option(
            "--metric-regex",
            metavar="NAME=REGEX",
            help="Read metric NAME from lines of output, its value in the one group. Repeatable.",
            rich_help_panel=RUNS,
        ),
    ] = None
    label: Annotated[
        list[str] | None,
        Option("--label", metavar="LABEL", help="Attach a label. Repeatable.", rich_help_panel=RUNS),
    ] = None
    description: Annotated[
        str | None,
        Option("-d", "--description", metavar="TEXT", help="Say what it is for.", rich_help_panel=RUNS),
    ] = None
    snapshot: Annotated[
        bool | None,
        Option(
            "--snapshot/--no-snapshot",
            help="Run the code as it is now, whatever becomes of it; always on a remote instance unless "
            "--no-snapshot.",
            rich_help_panel=HOW,
            show_default=False,
        ),
    ] = None
    retries: Annotated[
        int | None,
        Option(
            "--retries",
            metavar="N",
            help="Execute a run whose worker was lost so many times more; one that failed never.",
            min=0,
            max=100,
            show_default="2",
            rich_help_panel=RUNS,
        ),
    ] = None
    timeout: Annotated[
        float | None,
        Option(
            "--timeout",
            metavar="MIN",
            help="Stop a run that takes longer than so many minutes.",
            show_default="never",
            rich_help_panel=RUNS,
        ),
    ] = None
    grace: Annotated[
        float | None,
        Option(
            "--grace",
            metavar="SECONDS",
            help="What a run that is stopped has to end by itself, to write a checkpoint.",
            show_default="30",
            rich_help_panel=RUNS,
        ),
    ] = None
    lost_after: Annotated[
        float | None,
        Option(
            "--lost-after",
            metavar="SECONDS",
            help="Give a run whose worker is silent to another one after so long.",
            min=6,
            show_default="1800",
            rich_help_panel=RUNS,
        ),
    ] = None
    from_file: Annotated[
        str | None,
        Option(
            "--from-file",
            metavar="FILE",
            help="Take options, required ones too, from a JSON or YAML file; those given here win.",
            rich_help_panel=HOW,
        ),
    ] = None
    save_command: Annotated[
        str | None,
        Option(
            "--save-command",
            metavar="FILE",
            help="Write the options used to such a file.",
            rich_help_panel=HOW,
        ),
    ] = None


@dataclass(kw_only=True)
class RunOptions(RunSettings):
    """`run`."""

    background: Annotated[
        bool, Option("-b", "--background", help="Do not follow the log.", rich_help_panel=HOW)
    ] = False


@dataclass(kw_only=True)
class GridOptions(RunSettings):
    """`hyper grid`, and what every search has."""

    json_param: Annotated[
        list[str] | None,
        Option(
            "--json-param",
            metavar="NAME=LIST",
            help="In place of --param: a JSON list of values. Repeatable.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    choice: Annotated[
        list[str] | None,
        Option(
            "--choice",
            metavar="NAME=V[,V]",
            help="In place of --param: values taken as they stand, colons and all (\\, is a comma). "
            "Repeatable.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    parallel_runs: Annotated[
        int | None,
        Option(
            "-r",
            "--parallel-runs",
            metavar="N",
            help="Runs in flight at most.",
            min=1,
            show_default="as many as there are slots",
            rich_help_panel=SEARCH,
        ),
    ] = None
    seed: Annotated[
        int | None,
        Option(
            "--seed",
            metavar="N",
            help="Draw the same values again.",
            min=0,
            show_default="one is drawn and shown",
            rich_help_panel=SEARCH,
        ),
    ] = None
    max_runs: Annotated[
        int | None,
        Option(
            "--max-runs",
            metavar="N",
            help="Refuse a search of more runs.",
            min=1,
            show_default="10000",
            rich_help_panel=SEARCH,
        ),
    ] = None
    metric: Metric = None
    metric_agg: Agg = None
    goal: Goal = None
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show the runs and create nothing.", rich_help_panel=HOW)
    ] = False
    watch: Annotated[
        bool,
        Option(
            "-w", "--watch", help="Follow it in a live table; exits as `hyper wait`.", rich_help_panel=HOW
        ),
    ] = False


@dataclass(kw_only=True)
class SampledOptions(GridOptions):
    """`hyper random` and `hyper bayesian`."""

    num_runs: Annotated[
        int | None,
        Option("-n", "--num-runs", metavar="N", help="Runs at most.", min=1, rich_help_panel=SEARCH),
    ] = None
