"""The command line as a process: help, start-up, pipes, the modules it must not import."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from augury import __version__
from augury.cli.app import app
from augury.spec import MAX_RUNS

Augury = Callable[..., Any]
HEAVY = {"httpx", "rich", "numpy", "scipy", "sqlalchemy", "celery", "redis", "fastapi", "pydantic", "click"}


def commands() -> Iterator[tuple[str, ...]]:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    for name, command in root.commands.items():
        if isinstance(command, TyperGroup):
            yield from ((name, inner) for inner in command.commands)
        else:
            yield (name,)


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "AUGURY_URL": "http://127.0.0.1:9", "AUGURY_TOKEN": "t", **environment}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=env, check=False)


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_every_command_has_help_with_an_example(augury: Augury, command: tuple[str, ...]) -> None:
    said = augury(*command, "--help")
    assert said.code == 0
    usage, _, rest = said.out.partition("\n\n")
    assert usage.startswith("Usage: augury " + " ".join(command))
    assert rest.strip()
    assert f"\nExamples:\n  augury {' '.join(command)}" in said.out


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help_fits_the_screen_and_examples_are_untouched(augury: Augury, command: tuple[str, ...]) -> None:
    out = augury(*command, "-h").out
    assert max(len(line) for line in out.splitlines()) <= 105
    assert "💯" not in out


def test_all_commands_are_there() -> None:
    expected = {
        *("run", "ps", "info", "logs", "stop", "kill", "worker", "up", "down", "status", "doctor", "metric"),
        *(f"hyper {name}" for name in ("grid", "random", "bayesian", "list", "describe", "watch", "wait")),
        *(f"hyper {name}" for name in ("best", "stop", "kill", "resume", "download-metrics")),
    }
    assert expected <= {" ".join(command) for command in commands()}


def test_the_version(augury: Augury) -> None:
    assert augury("--version").out == f"augury {__version__}\n"


def test_without_a_command_the_help_is_shown(augury: Augury) -> None:
    for words in ((), ("hyper",)):
        said = augury(*words)
        assert said.code == 2
        assert "Usage: augury" in said.out + said.err


def test_a_misspelt_command_is_guessed(augury: Augury) -> None:
    said = augury("hyper", "descibe", "1")
    assert said.code == 2
    assert "'describe'" in said.err


def imported(code: str) -> set[str]:
    out = python("-c", f"import sys\n{code}\nprint('MODULES', *sys.modules)").stdout
    return {name.partition(".")[0] for name in out.partition("MODULES ")[2].split()}


@pytest.mark.parametrize(
    "code",
    [
        "import augury.cli.main",
        "from augury.cli.main import run; run(['hyper', 'grid', '--help'])",
        "from augury.cli.main import run; run(['hyper', 'grid', '--param', 'a=1:2', '--', 't', ':a:'])",
        "from augury.cli.main import run; run(['--version'])",
    ],
)
def test_help_and_usage_errors_import_nothing_heavy(code: str) -> None:
    found = imported(code)
    assert "augury" in found
    assert not found & HEAVY


def test_a_submit_imports_http_and_nothing_else_heavy() -> None:
    code = "from augury.cli.main import run; run(['hyper', 'grid', '--param', 'a=1,2', '--', 't', ':a:'])"
    assert imported(code) & HEAVY == {"httpx"}


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    code = fake_listing("x" * 1000)
    shell = f'{sys.executable} -c "$CODE" | head -n 1; echo codes ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, env={**os.environ, "CODE": code}, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].startswith("ID")
    assert done.stdout.splitlines()[-1] == "codes 141"


def fake_listing(command: str) -> str:
    """Return a program that lists a thousand searches of `command`."""
    return (
        "import sys\n"
        "from augury.cli import lazy\n"
        "class Client:\n"
        "    def __init__(self, **_): pass\n"
        "    def list_searches(self, *_):\n"
        f"        search = dict(id=1, kind='grid', state='running', owner='a', command={command!r})\n"
        "        return [search | {'created_at': '2026-11-23T10:00:00Z'}] * 1000\n"
        "lazy.Client = Client\n"
        "from augury.cli.main import main\n"
        "sys.argv = ['augury', 'hyper', 'list']\n"
        "main()\n"
    )


def test_a_terminal_that_knows_no_unicode_is_no_error() -> None:
    done = python("-c", fake_listing("träin"), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "tr?in" in done.stdout


def test_a_closed_stdout_is_no_error() -> None:
    shell = f'{sys.executable} -c "$CODE" >&-'
    env = {**os.environ, "CODE": fake_listing("x")}
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("what", ["help", "listing"])
def test_a_full_disk_is_one_line(what: str) -> None:
    program = (
        fake_listing("x")
        if what == "listing"
        else "import sys; sys.argv = ['augury', '--help']; from augury.cli.main import main; main()"
    )
    env = {**os.environ, "CODE": program}
    shell = f'{sys.executable} -c "$CODE" > /dev/full'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("columns", ["-3", "0", "1", "10", "x"])
def test_a_tiny_terminal_is_no_error(columns: str) -> None:
    done = python("-m", "augury.cli.main", "hyper", "grid", "--help", COLUMNS=columns)
    assert (done.returncode, done.stderr) == (0, "")
    done = python("-c", fake_listing("x"), COLUMNS=columns)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_can_be_shown(shell: str) -> None:
    # Without the detection, which finds none where the tests are not run from a shell, it is named.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = python("-m", "augury.cli.main", "--show-completion", shell, **named)
    assert done.returncode == 0
    assert "augury" in done.stdout


def test_completion_offers_commands_and_options() -> None:
    words = {"_AUGURY_COMPLETE": "complete_bash", "COMP_WORDS": "augury hyper gr", "COMP_CWORD": "2"}
    assert python("-m", "augury.cli.main", **words).stdout.split() == ["grid"]
    words |= {"COMP_WORDS": "augury hyper grid --par", "COMP_CWORD": "3"}
    assert python("-m", "augury.cli.main", **words).stdout.split() == ["--param", "--parallel-runs"]


REQUIRED = {
    ("hyper", "grid"): {"COMMAND", "--param"},
    ("hyper", "random"): {"COMMAND", "--param", "--num-runs"},
    ("hyper", "bayesian"): {
        "COMMAND", "--param", "--num-runs", "--parallel-runs", "--metric", "--metric-agg",
    },
    ("run",): {"COMMAND"},
}  # fmt: skip


def marked(help_text: str, word: str) -> set[str]:
    """Return the arguments and options whose entry in a help text has `word` among its notes."""
    entries = re.split(r"\n  (?=\S)", help_text)
    found = [entry for entry in entries if re.search(rf"\[[^\]]*\b{word}\b[^\]]*\]", entry)]
    return {re.search(r"--[a-z-]+|^[A-Z]+", entry)[0] for entry in found}  # type: ignore[index]


@pytest.mark.parametrize("command", list(REQUIRED), ids=" ".join)
def test_help_marks_what_is_required(augury: Augury, command: tuple[str, ...]) -> None:
    assert marked(augury(*command, "--help").out, "required") == REQUIRED[command]


def test_help_tells_real_defaults(augury: Augury) -> None:
    words = " ".join(augury("hyper", "random", "--help").out.split())
    assert "Refuse a search of more runs. [default: 10000; at least 1]" in words
    assert f"default: {MAX_RUNS}" in words
    assert "Reduce its points to one number. [default: last]" in words
    assert "Which end of it is best. [default: maximize]" in words
    assert "None" not in words
    assert "best. [default: the search's]" in " ".join(augury("hyper", "best", "--help").out.split())


def test_what_is_required_and_missing_is_named(augury: Augury) -> None:
    said = augury("hyper", "bayesian", "--num-runs", "3", "--", "train", ":rate:")
    assert said.code == 2
    for option in REQUIRED["hyper", "bayesian"] - {"COMMAND", "--num-runs"}:
        assert option in said.err
