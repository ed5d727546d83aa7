"""How Augury's commands read their words: options as dataclasses, reserved options, quoted commands."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from textwrap import dedent
from typing import Any, TypeVar, get_type_hints

from typer.core import TyperCommand, TyperOption
from typer.exceptions import Exit, TyperException

from augury.cli import reserved
from augury.cli.coercion import lighten
from augury.cli.helping import option_rows, write_examples, write_sections
from augury.cli.notices import say
from augury.errors import UsageError
from augury.grammar.arguments import split_command, swallowed_options

T = TypeVar("T")

#: Exit code of a command whose reader went away, the one a shell gives to SIGPIPE.
BROKEN_PIPE = 141

#: For commands whose positional words are a command line of the user's.
COMMAND_LINE = {"allow_interspersed_args": False}


def takes(
    options: type[T], examples: str, needed: Sequence[str] = ()
) -> Callable[[Callable[[T], None]], Callable[..., None]]:
    """Make a function of one options object a Typer callback with an option for each field.

    `examples` are command lines, one a line, that end its help. `needed` are the fields that its help marks
    as required although their options may be left out, as where a file gives them.
    """

    def decorate(function: Callable[[T], None]) -> Callable[..., None]:
        def callback(**values: Any) -> None:
            function(options(**values))

        hints = get_type_hints(options, include_extras=True)
        parameters = [
            inspect.Parameter(
                field.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=inspect.Parameter.empty if field.default is MISSING else field.default,
                annotation=hints[field.name],
            )
            for field in fields(options)  # type: ignore[arg-type]  # always a dataclass
        ]
        callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        callback.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        callback.__doc__, callback.__name__ = function.__doc__, function.__name__
        callback.examples = dedent(examples)  # type: ignore[attr-defined]
        callback.needed = tuple(needed)  # type: ignore[attr-defined]
        return callback

    return decorate


class AuguryCommand(TyperCommand):
    """A command with examples in its help, which ends quietly when the reader of its output goes away."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read `args` into typed values."""
        lighten(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options under their headings."""
        write_sections(formatter, option_rows(self, ctx, getattr(self.callback, "needed", ())))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples."""
        write_examples(formatter, getattr(self.callback, "examples", ""))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a closed stdout ends it as SIGPIPE would."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes stdout once more on its way out.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(BROKEN_PIPE) from None
        return result


class SubmitCommand(AuguryCommand):
    """A command that ends with the user's own command line.

    The first bare word with white space in it is that whole command line, and options may follow it;
    otherwise everything from the first bare word on belongs to it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read `args`; reserved options are refused by name."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        valued, flags = self._option_names(ctx)
        options, words = split_command(args, valued, flags)
        try:
            rest = super().parse_args(ctx, [*options, "--", *words])
        except TyperException as error:
            option = getattr(error, "option_name", None)
            refusal = reserved.refusal(self.name or "", option, args) if option else None
            if refusal is None:
                raise
            raise UsageError(refusal) from None
        for notice in swallowed_options(args, valued, flags):
            say(notice)
        return rest

    def _option_names(self, ctx: Any) -> tuple[list[str], list[str]]:
        """Return the names of the options that take a value, and of those that take none."""
        valued: list[str] = []
        flags: list[str] = []
        for parameter in self.get_params(ctx):
            if isinstance(parameter, TyperOption):
                (flags if parameter.is_flag else valued).extend(parameter.opts)
        return valued, flags
