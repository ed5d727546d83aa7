"""Help as plain text: options and commands under headings, examples as they are typed.

Rich panels would take most of a second's third to import, and read `:100:` in an example as an emoji.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from typer.core import TyperGroup

from augury.cli.coercion import lighten

if TYPE_CHECKING:
    from typer import Context

#: Columns of a help text at most.
WIDTH = 100


class Formatter(Protocol):
    """The part of Typer's help formatter used here."""

    def section(self, name: str) -> Any:
        """Open a section with a heading."""

    def write_dl(self, rows: list[tuple[str, str]]) -> None:
        """Write names with their explanations."""

    def write(self, string: str) -> None:
        """Write text as it is."""


def write_sections(formatter: Formatter, rows: Iterable[tuple[str, tuple[str, str]]]) -> None:
    """Write rows under their headings, in the order in which those first appear."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for heading, row in rows:
        sections.setdefault(heading, []).append(row)
    for heading, found in sections.items():
        with formatter.section(heading):
            formatter.write_dl(found)


def option_rows(command: Any, ctx: Context, needed: Sequence[str] = ()) -> list[tuple[str, tuple[str, str]]]:
    """Return the heading, names and help of each argument and option: required ones first, `--help` last.

    `needed` names those that are required although Typer does not know.
    """
    rows: list[tuple[str, tuple[str, str]]] = []
    front: list[tuple[str, tuple[str, str]]] = []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        name, text = record
        default = "Arguments" if parameter.param_type_name == "argument" else "Options"
        # Flags say `<bool>` by themselves; what has a metavar says its type with it.
        name = re.sub(r" <(bool|int range|list\[str\])>$", "", name)
        required = parameter.name in needed
        row = (parameter.rich_help_panel or default, (name, _with_notes(text, required)))
        (front if required or default == "Arguments" else rows).append(row)
    # The common options close the list: what a command is about comes first.
    return sorted(front + rows, key=lambda row: row[0] == "Options")


def _with_notes(text: str, required: bool) -> str:
    """Return a help text with the notes at its end in words: `[required]`, `[default: 50; at least 1]`."""
    about, _, inside = text.removesuffix("]").rpartition("  [") if text.endswith("]") else (text, "", "")
    notes = ["required"] if required else []
    for note in filter(None, inside.split("; ")):
        if required and note.startswith("default: "):
            continue
        # Typer puts a default that is told, not set, into parentheses.
        plain = re.sub(r"^default: \((.*)\)$", r"default: \1", note)
        notes.append(re.sub(r"^x>=", "at least ", plain))
    return f"{about}  [{'; '.join(notes)}]" if notes else about


def write_examples(formatter: Formatter, examples: str) -> None:
    """Write the examples of a command, one a line, as they can be copied."""
    if examples:
        formatter.write("\nExamples:\n")
        for line in examples.strip("\n").split("\n"):
            formatter.write(f"  {line}\n")


class AuguryGroup(TyperGroup):
    """A group whose help lists its commands under headings, searches first."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of their help."""
        return sorted(super().list_commands(ctx), key=lambda name: name != "hyper")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read `args` into typed values."""
        lighten(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the commands, then the options."""
        rows = []
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            rows.append((command.rich_help_panel or "Commands", (name, command.get_short_help_str(WIDTH))))
        write_sections(formatter, rows)
        write_sections(formatter, option_rows(self, ctx))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples of a group that does something by itself."""
        write_examples(formatter, getattr(self.callback, "examples", ""))
