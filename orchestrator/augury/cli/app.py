"""The whole command line as one Typer app."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException
from typer.main import get_command

import augury as augury_package
from augury.cli import cluster, flower, hyper, instance, outputs, redis_acl, runs, workers
from augury.cli.helping import WIDTH, AuguryGroup
from augury.cli.notices import fail
from augury.errors import AuguryError

#: Errors of a full or failing disk that the output goes to.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

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
outputs.register(app)
instance.register(app)
cluster.register(app)
flower.register(app)
redis_acl.register(app)
app.add_typer(workers.app, rich_help_panel=instance.CLUSTER)


def cannot_write(error: OSError) -> int:
    """Say that the output could not be written, and return the exit code."""
    fail(f"cannot write the output: {error.strerror}")
    return 1


def execute(arguments: Sequence[str]) -> int:
    """Execute one command line and return its exit code; errors are told on stderr, without a traceback."""
    try:
        result = get_command(app).main(list(arguments), prog_name="augury", standalone_mode=False)
    except AuguryError as error:
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
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        return cannot_write(error)
    return result if isinstance(result, int) else 0
