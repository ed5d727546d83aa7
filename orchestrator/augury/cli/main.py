"""`augury`: the entry point of the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException
from typer.main import get_command

import augury as augury_package
from augury import errors
from augury.cli import hyper, instance, lazy, runs
from augury.cli.helping import WIDTH, AuguryGroup
from augury.cli.notices import fail

app = typer.Typer(
    name="augury",
    cls=AuguryGroup,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH},
)


@app.callback(invoke_without_command=True)
def augury(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """Hyperparameter searches over any command, on your own machines."""
    if version:
        typer.echo(f"augury {augury_package.__version__}")
        raise typer.Exit()


app.add_typer(hyper.app, rich_help_panel="Searches")
runs.register(app)
instance.register(app)


def run(arguments: Sequence[str]) -> int:
    """Execute one command line and return its exit code; errors are told on stderr, without a traceback."""
    if arguments[:1] == ["metric"] and not {"-h", "--help"} & set(arguments):
        # Shell scripts call it in loops: 20 ms instead of 150.
        return lazy.sdk_cli.main(arguments[1:])
    try:
        result = get_command(app).main(list(arguments), prog_name="augury", standalone_mode=False)
    except errors.AuguryError as error:
        fail(str(error))
        return error.exit_code
    except TyperException as error:
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        return int(getattr(error, "exit_code", 1))
    except KeyboardInterrupt:
        return 130
    return result if isinstance(result, int) else 0


def main() -> None:
    """Execute the command line of this process."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


if __name__ == "__main__":
    main()
