"""Every option of the command line, as dataclasses that commands take whole (see `command.takes`)."""

# No `from __future__ import annotations`: Typer needs these as objects, and text would be parsed at start-up.

from dataclasses import dataclass
from typing import Annotated, Literal

from typer import Argument, Option

SEARCH, JUDGE, RUNS, HOW = "The search", "How runs are judged", "Its runs", "How to submit"

JsonFlag = Annotated[bool, Option("--json", help="Print one JSON value and nothing else.")]
QuietFlag = Annotated[bool, Option("-q", "--quiet", help="Print ids only.")]
SearchId = Annotated[int, Argument(metavar="ID", help="The search's number.", min=1, show_default=False)]
RunId = Annotated[int, Argument(metavar="RUN", help="The run's number.", min=1, show_default=False)]
RunIds = Annotated[list[int], Argument(metavar="RUN...", help="Numbers of runs.", min=1, show_default=False)]
AllFlag = Annotated[bool, Option("--all", help="Show those of all users.")]
Label = Annotated[str | None, Option("-l", "--label", metavar="LABEL", help="Only those with this label.")]
Metric = Annotated[
    str | None,
    Option("--metric", metavar="NAME", help="Judge runs by this metric.", rich_help_panel=JUDGE),
]
Agg = Annotated[
    Literal["avg", "min", "max", "last"] | None,
    Option("-a", "--metric-agg", help="Reduce its points to one number.", rich_help_panel=JUDGE),
]
Goal = Annotated[
    Literal["maximize", "minimize"] | None,
    Option("--goal", help="Which end of it is best; maximize unless given.", rich_help_panel=JUDGE),
]


@dataclass(kw_only=True)
class Output:
    """What every command has: how to print."""

    json: JsonFlag = False
    quiet: QuietFlag = False


@dataclass(kw_only=True)
class Judged(Output):
    """Commands that can judge runs by another metric than their search's."""

    metric: Metric = None
    metric_agg: Agg = None
    goal: Goal = None


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

    number: Annotated[int | None, Option("-n", "--number", help="Only the newest N.", min=1)] = None
    label: Label = None
    all: AllFlag = False


@dataclass(kw_only=True)
class DownloadOptions(OneSearch):
    """`hyper download-metrics`."""

    dest: Annotated[str, Option("-d", "--dest", metavar="FILE", help="Where to write.")] = "metrics.csv"
    force: Annotated[bool, Option("-f", "--force", help="Overwrite an existing file.")] = False


@dataclass(kw_only=True)
class ListRunsOptions(Output):
    """`ps`."""

    number: Annotated[int, Option("-n", "--number", help="Only the newest N.", min=1)] = 50
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
    raw: Annotated[bool, Option("--raw", help="Keep terminal control sequences of the output.")] = False


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
        Option("-t", "--machine-type", metavar="TYPE", help="Where to run, e.g. K80.", rich_help_panel=RUNS),
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
    from_file: Annotated[
        str | None,
        Option(
            "--from-file",
            metavar="FILE",
            help="Take options from a JSON or YAML file; those given here win.",
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
            help="A parameter as a JSON list of values. Repeatable.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    choice: Annotated[
        list[str] | None,
        Option(
            "--choice",
            metavar="NAME=V[,V]",
            help="Values taken as they stand, colons and all (\\, is a comma). Repeatable.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    parallel_runs: Annotated[
        int | None,
        Option("-r", "--parallel-runs", help="Runs in flight at most.", min=1, rich_help_panel=SEARCH),
    ] = None
    seed: Annotated[
        int | None,
        Option(
            "--seed",
            help="Draw the same values again; drawn and shown if not given.",
            min=0,
            rich_help_panel=SEARCH,
        ),
    ] = None
    max_runs: Annotated[
        int | None,
        Option("--max-runs", help="Refuse a search of more runs.", min=1, rich_help_panel=SEARCH),
    ] = None
    metric: Metric = None
    metric_agg: Agg = None
    goal: Goal = None
    dry_run: Annotated[
        bool, Option("--dry-run", help="Show the runs and create nothing.", rich_help_panel=HOW)
    ] = False
    watch: Annotated[
        bool, Option("-w", "--watch", help="Follow it in a live table.", rich_help_panel=HOW)
    ] = False


@dataclass(kw_only=True)
class SampledOptions(GridOptions):
    """`hyper random` and `hyper bayesian`."""

    num_runs: Annotated[
        int | None, Option("-n", "--num-runs", help="Runs at most.", min=1, rich_help_panel=SEARCH)
    ] = None
