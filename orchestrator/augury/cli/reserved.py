"""Options of the old product that Augury keeps the names of and does not have yet.

Each is recognised and refused in one sentence, so that nobody searches for a spelling mistake. When one
gets built, its line goes away here and an option appears in `options.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

_SENTENCES: dict[tuple[str, ...], str] = {
    ("-m", "--mount"): "runs see the files of this machine, so give the path in the command",
    ("--pip",): "install packages in the environment you submit from",
    ("--apt",): "install packages on the machine that runs the worker",
    ("--pip-req",): "install the requirements in the environment you submit from",
    ("--conda-file",): "activate the conda environment and submit from it",
    ("--deps-from-env",): "runs of the local instance already use the environment you submit from",
    ("--docker-image", "--docker_image", "--from"): "put `docker run` in the command",
    ("-c", "--commit-ref"): "runs use the files of the current directory",
    ("--github-url",): "clone the repository and submit from its folder",
    ("--github-ref",): "check the branch out and submit from its folder",
    ("--tensorboard-dir",): "start tensorboard on the directory yourself",
    ("-p", "--project"): "use --label to group searches",
    ("-f", "--force"): "nothing asks for confirmation, so there is nothing to force",
    ("-v", "--verbose"): "see `augury info` and `augury logs` for the details of a run",
    ("--stop-condition",): "stop single runs with `augury stop`",
    ("--auto-resume", "--disable-auto-resume"): "a run whose worker is lost is queued again by itself",
    ("--distributed",): "put `torchrun` or `horovodrun` in the command",
    ("--idempotent",): "every submit makes a new search",
    ("--provider",): "machine types stand for machines of any kind",
    ("--local-caching",): "runs read the files of this machine",
}

#: Options of one of our commands, given to another one where they mean nothing.
_ELSEWHERE: dict[tuple[str, str], str] = {
    ("grid", "--num-runs"): "a grid runs every combination of its values",
    ("grid", "-n"): "a grid runs every combination of its values",
    ("run", "--num-runs"): "a run is one run; `augury hyper` makes many",
    ("run", "-n"): "a run is one run; `augury hyper` makes many",
    ("run", "--parallel-runs"): "a run is one run; `augury hyper` makes many",
    ("run", "-r"): "a run is one run; `augury hyper` makes many",
    ("run", "--metric"): "only a search judges its runs by a metric",
    ("run", "--metric-agg"): "only a search judges its runs by a metric",
    ("run", "-a"): "only a search judges its runs by a metric",
    ("run", "--json-param"): "a run takes one value for each --param NAME=VALUE",
    ("run", "-w"): "a run is followed anyway unless -b is given",
    ("run", "--watch"): "a run is followed anyway unless -b is given",
}
_BACKGROUND = "a search is always in the background; follow it with --watch"
_ELSEWHERE |= {
    (kind, option): _BACKGROUND
    for kind in ("grid", "random", "bayesian")
    for option in ("-b", "--background")
}

_REASONS = {name: (names[-1], reason) for names, reason in _SENTENCES.items() for name in names}


def names() -> list[str]:
    """Return all reserved option names."""
    return list(_REASONS)


def refusal(command: str, option: str, arguments: Sequence[str] = ()) -> str | None:
    """Return the sentence that refuses `option` of `command`, None when the option is not reserved."""
    if elsewhere := _ELSEWHERE.get((command, option)):
        return f"{option} is not an option of `{command}`: {elsewhere}."
    if option not in _REASONS:
        return None
    if option == "-p" and (parameter := _parameter_after("-p", arguments)):
        return f"-p is --project, which is not built yet; for a parameter write: --param {parameter}"
    return f"{option} is not built yet: {_REASONS[option][1]}."


def _parameter_after(option: str, arguments: Sequence[str]) -> str | None:
    """Return the `name=value` given to the old `-p`, apart or attached."""
    for place, word in enumerate(arguments):
        if word == option and place + 1 < len(arguments) and "=" in arguments[place + 1]:
            return arguments[place + 1]
        if word.startswith(option) and "=" in word:
            return word.removeprefix(option)
    return None
