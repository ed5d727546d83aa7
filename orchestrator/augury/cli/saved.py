"""`--from-file` and `--save-command`: the options of a submit as a JSON or YAML file.

Keys are option names without their dashes, plus `command` and `args`. What the command line gives
replaces what the file gives, option by option and as a whole.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, get_args

from augury.cli import reserved
from augury.cli.files import written_whole
from augury.cli.options import GridOptions, RunOptions, SampledOptions
from augury.errors import UsageError
from augury.grammar.suggest import did_you_mean
from augury.spec import AGGREGATIONS, GOALS

Submitted = TypeVar("Submitted", GridOptions, SampledOptions, RunOptions)

#: Options that say how to print or submit, not what: never taken from a file nor saved to one.
_NOT_SAVED = frozenset(
    {"json", "quiet", "watch", "dry_run", "background", "snapshot", "from_file", "save_command"}
)
_CHOICES: Mapping[str, tuple[str, ...]] = {"metric_agg": AGGREGATIONS, "goal": GOALS}


def filled(options: Submitted) -> Submitted:
    """Return `options` with what its `--from-file` adds; unchanged without one.

    Raises:
        UsageError: the file cannot be read, or holds a key or value that is no option's.
    """
    if options.from_file is None:
        return options
    path = Path(options.from_file)
    document = _read(path)
    arguments: list[str] = _strings(path, "args", document.pop("args", []))
    found: dict[str, Any] = {}
    for key, value in document.items():
        name = key.replace("-", "_")
        if name not in _names(options):
            raise UsageError(_unknown(path, key, options))
        found[name] = _checked(path, key, value, type(options))
    if "command" in found:
        found["command"] = [*found["command"], *arguments]
    elif arguments:
        raise UsageError(f"{path}: there are 'args' but no 'command'")
    if options.command and "command" in found:
        raise UsageError(f"the command stands both in {path} and on the command line: keep one")
    given = {name for name in _names(options) if getattr(options, name) is not None}
    return replace(options, **{name: value for name, value in found.items() if name not in given})


def save(options: GridOptions | RunOptions) -> None:
    """Write the options that were used to the file of `--save-command`; nothing without one.

    Raises:
        UsageError: the file exists with other content, or cannot be written.
    """
    if options.save_command is None:
        return
    path = Path(options.save_command)
    document: dict[str, Any] = {}
    for name in _names(options):
        value = getattr(options, name)
        if value is None:
            continue
        if name == "command":
            document["command"] = value[0]
            if value[1:]:
                document["args"] = value[1:]
        else:
            document[name.replace("_", "-")] = value
    text = _text(path, document)
    if path.exists() and path.read_bytes() != text.encode():
        raise UsageError(
            f"--save-command: {path} exists and holds something else; remove it or choose another name"
        )
    with written_whole(path) as file:
        file.write(text)


def _names(options: GridOptions | RunOptions) -> list[str]:
    return [field.name for field in fields(options) if field.name not in _NOT_SAVED]


def _unknown(path: Path, key: str, options: GridOptions | RunOptions) -> str:
    option = ("--" if len(key) > 1 else "-") + key
    if sentence := reserved.refusal("", option):
        return f"{path}: {sentence}"
    known = [name.replace("_", "-") for name in _names(options)]
    return f"{path}: unknown key '{key}'{did_you_mean(key, known)} (keys: {', '.join([*known, 'args'])})"


def _checked(path: Path, key: str, value: Any, options: type[GridOptions | RunOptions]) -> Any:
    """Return a value as its option would hold it; raises `UsageError` naming the key."""
    name = key.replace("-", "_")
    # The first argument of Annotated[T | None, Option(...)] is T | None.
    annotation = next(field.type for field in fields(options) if field.name == name)
    wanted = get_args(get_args(annotation)[0])[0]
    if name == "command" or wanted == list[str]:
        return _strings(path, key, value)
    if wanted is int:
        if isinstance(value, int) and not isinstance(value, bool) and value >= (0 if name == "seed" else 1):
            return value
        raise UsageError(f"{path}: '{key}' is {value!r}, but must be a whole number above 0")
    if wanted is float:
        if type(value) in (int, float) and math.isfinite(value):
            return value
        raise UsageError(f"{path}: '{key}' is {value!r}, but must be a number")
    if not isinstance(value, str):
        raise UsageError(f"{path}: '{key}' is {value!r}, but must be a text")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UsageError(f"{path}: '{key}' is '{value}', but must be one of {', '.join(_CHOICES[name])}")
    return value


def _strings(path: Path, key: str, value: Any) -> list[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(item, str) for item in values):
        raise UsageError(f"{path}: '{key}' must be a text or a list of texts")
    return values


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--from-file: cannot read {path}: {error}") from None
    yaml = _yaml(path)
    try:
        document = (
            json.loads(text, object_pairs_hook=_no_duplicates) if yaml is None else yaml.safe_load(text)
        )
    except ValueError as error:
        raise UsageError(f"--from-file: {path} is not valid JSON: {error}") from None
    except Exception as error:
        if yaml is None or not isinstance(error, yaml.YAMLError):
            raise
        raise UsageError(f"--from-file: {path} is not valid YAML: {error}") from None
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise UsageError(f"--from-file: {path} must hold option names with their values")
    return document


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise ValueError("a key stands there twice")
    return document


def _text(path: Path, document: Mapping[str, Any]) -> str:
    yaml = _yaml(path)
    if yaml is None:
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return str(yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True))


def _yaml(path: Path) -> ModuleType | None:
    """Return PyYAML for a YAML file, None for a JSON one, which does not pay for its import."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return None
    return import_module("yaml")
