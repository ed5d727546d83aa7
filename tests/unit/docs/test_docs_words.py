"""The pages say what the code says: words, states, keys, numbers."""

from __future__ import annotations

import re
import tomllib
from typing import get_args

import pytest
from docs_pages import DOCS, PAGES, ROOT, name, prose

from augury import run as states
from augury.cli import following
from augury.cli.output import contract
from augury.spec import AGGREGATIONS, GOALS, NUMBER_TYPES, SCALINGS

WORDS = (
    "search", "parameter", "space", "scaling", "sampler", "ask", "tell", "suggestion", "observation",
    "pending", "run", "attempt", "token", "lease", "metric", "point", "aggregation", "objective", "goal",
    "machine type", "queue", "worker", "slot", "instance",
)  # fmt: skip
#: Words for the same things elsewhere, and pages that may name them.
FOREIGN = {
    "trial": {"docs/glossary.md"},
    "hyperopt": {"README.md"},
    "study": set(),
    "experiment": set(),
    "cancelled": set(),
    "objective function": set(),
}


def glossary() -> str:
    return (DOCS / "glossary.md").read_text()


def test_the_glossary_has_every_word_once() -> None:
    found = re.findall(r"^\| \*\*(.+?)\*\* \|", glossary(), re.MULTILINE)
    assert set(WORDS) <= set(found)
    assert len(found) == len(set(found))


def test_the_glossary_has_every_state_and_choice() -> None:
    choices = (*AGGREGATIONS, *GOALS, *SCALINGS, *NUMBER_TYPES)
    for word in (*get_args(states.RunState), *get_args(states.SearchState), *choices):
        assert f"`{word}`" in glossary(), word


@pytest.mark.parametrize("word", FOREIGN)
def test_pages_use_our_words(word: str) -> None:
    users = {name(page) for page in PAGES if re.search(rf"\b{word}s?\b", prose(page), re.IGNORECASE)}
    assert users <= FOREIGN[word]


def test_the_json_page_has_every_key() -> None:
    page = (DOCS / "reference" / "json.md").read_text()
    for key in (*contract.SEARCH, *contract.RUN, *contract.RUN_DETAIL, "runs", "best"):
        assert f"`{key}`" in page, key


def test_the_wire_page_names_modules_that_exist() -> None:
    roots = {"augury": "orchestrator", "augury_workers": "workers"}
    names = re.findall(r"`(augury(?:_workers)?(?:\.[a-z]+)+)`", (DOCS / "reference" / "wire.md").read_text())
    assert len(names) > 10
    for module in names:
        if module == "augury.run":  # the name of the Celery task
            continue
        path = ROOT / roots[module.partition(".")[0]] / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or path.is_dir(), module


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found = re.search(r"^## (\S+), (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert found is not None
    assert found[1] == project["version"]
    assert re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", found[2])


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    files = sorted(path.name for path in (DOCS / "decisions").glob("[0-9]*.md"))
    assert [int(file[:4]) for file in files] == list(range(1, len(files) + 1))
    index = (DOCS / "decisions" / "index.md").read_text()
    for file in files:
        text = (DOCS / "decisions" / file).read_text()
        title = text.splitlines()[0].removeprefix(f"# {file[:4]}: ")
        assert f"| [{file[:4]}]({file}) | {title.replace('AUGURY_SLOTS', '`AUGURY_SLOTS`')} |" in re.sub(
            r"`hyper resume`", "hyper resume", index
        )
        assert [line for line in text.splitlines() if line.startswith("## ")] == [
            "## Context",
            "## Decision",
            "## Consequences",
        ]


def test_pages_name_no_path_of_a_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(?:home|root|work|Users)/", page.read_text()), name(page)


def test_the_guide_says_what_each_state_and_each_exit_code_of_a_search_means() -> None:
    guide = (DOCS / "guide" / "searching.md").read_text()
    for word in (*get_args(states.RunState), *get_args(states.SearchState)):
        assert f"`{word}`" in guide, word
    for code in (0, 1, following.SOME_FAILED, following.TIMED_OUT, 130):
        assert f"| {code} |" in guide, code
