"""Shell lines: values reach the program byte for byte, in every place, in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from augury.errors import UsageError
from augury.grammar.shell import MAX_DEPTH, placeholder_pattern, scan
from augury.grammar.template import check, environment_of, render
from augury.spec import Command

SHELLS = [
    pytest.param(name, marks=[] if shutil.which(name) else pytest.mark.skip(f"no {name} here"))
    for name in ("bash", "dash", "sh")
]

HOSTILE = [
    "0.1", "007", "1e-8", "-1", "a=b", "A,B", "user@host:/x", "100%", "+x", "..", "/", "if", "done", "~",
    "~root", "", " ", "  a  b  ", "a b", "tab\tx", "line\nbreak", "\n", "trailing\n\n", "\r\n", "'", '"',
    "''", '"""', "it's", "'; touch PWNED; '", '"; touch PWNED; "', "$(touch PWNED)", "`touch PWNED`",
    "${HOME}", "$HOME", "$", "$$", "; touch PWNED", "&& touch PWNED", "| touch PWNED", "& touch PWNED &",
    "\ntouch PWNED\n", "> PWNED", "2> PWNED", "<(touch PWNED)", "*", "?", "[a-z]*", "{a,b}", "{1..3}", "!",
    "!!", "#", "# x", "a#b", "\\", "\\\\", "\\n", "\\'", '\\"', "\\$HOME", "a\\", "-n", "--help", "-e",
    "%s%n", "%", "a;b", "(x)", ")", "}", "EOF", "é", "💫", "ｆｕｌｌ", "\u202e", "\x01\x7f\x1b[31m",
    "a[$(touch PWNED)]", "x[0]=1", "$((1+1))", "$'a\\nb'", "=", ":", "::", ":x:", "a" * 5000,
]  # fmt: skip

PLACES = {
    "outside": ":x:",
    "glued outside": "pre:x:post",
    "double": '":x:"',
    "within double": '"a :x: \'b\' \\" c"',
    "single": "':x:'",
    "within single": "'a :x: \"b\" \\ c'",
    "substitution": '"$(printf %s. :x:)"',
    "double in substitution": '"$(printf %s. ":x:")"',
    "single in substitution": "\"$(printf %s. 'a :x: b')\"",
    "substitution twice": '"$(printf %s. "$(printf %s. ":x:" \':x:\')")"',
    "after a variable": "$EMPTY:x:",
    "after a variable in double": '"$EMPTY:x:"',
    "after a quoted piece": "'a':x:\"b\"",
    "after an escaped backslash": "\\\\:x:",
    "after an escaped backslash in double": '"\\\\:x:"',
    "after an escaped dollar": "\\$:x:",
    "after an expansion": '${EMPTY:-a"b}"}:x:',
    "after backticks": '`printf %s "\'"`:x:',
    "after arithmetic": "$((1 << 2)):x:",
    "after a line break": "a\\\n:x:",
    "twice": ":x::x:",
    "assignment form": "--set=:x:=:x:",
    "in braces": "{:x:}",
    "before a redirection": ":x:</dev/null",
}


WORD = "+w0rd"
"""A value that no shell could misread, wherever it stands."""


class Complaint(AssertionError):
    """The shell has said something."""


def run(shell: str, script: str, texts: dict[str, str], folder: Path) -> list[str]:
    """Run `script` with the values in the environment; return what `printf '%s\\0'` printed."""
    environment = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C.UTF-8",
        "HOME": "/home/x",
        **environment_of(texts),
    }
    done = subprocess.run(
        [shell, "-c", script], capture_output=True, env=environment, cwd=folder, timeout=60, check=False
    )
    if done.stderr:
        raise Complaint(done.stderr.decode(), script)
    assert list(folder.iterdir()) == []
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("place", PLACES)
def test_hostile_values_arrive_byte_for_byte(shell: str, place: str, tmp_path: Path) -> None:
    """One process per place: every value is a parameter of its own, the oracle a harmless word."""
    texts = {f"x{index}": value for index, value in enumerate(HOSTILE)}
    (harmless,) = run(shell, f"printf '%s\\0' {PLACES[place].replace(':x:', WORD)}", {}, tmp_path)
    lines = [f"printf '%s\\0' {PLACES[place].replace(':x:', f':{name}:')}" for name in texts]
    command = Command(shell="\n".join(lines))
    check(command, list(texts))
    rendered = render(command, texts)
    assert run(shell, rendered.shell, texts, tmp_path) == [harmless.replace(WORD, value) for value in HOSTILE]


def test_the_forms_that_a_value_takes_in_a_line() -> None:
    command = Command(shell="""t :x: ":x:" ':x:'""")
    assert render(command, {"x": "0.1"}).shell == """t 0.1 "0.1" '0.1'"""
    variable = "${AUGURY_PARAM_X}"
    assert render(command, {"x": "a b"}).shell == f"""t "{variable}" "{variable}" ''"{variable}"''"""


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("t $P:x:", "0"),
        ("t :x:>log", "2"),
        ("t 1:x:<log", "2"),
        (":x: t", "A=1"),
        (":x: t", "if"),
        (":x: t", "-c"),
        ("t && :x:", "A=1"),
        ("t {a,:x:}", "1,2"),
        ("t {:x:}", "1..3"),
        ("if :x:; then t; fi", "while"),
        ("t :x:", ""),
    ],
)
def test_plain_values_that_would_melt_into_the_line_come_by_variable(line: str, text: str) -> None:
    check(Command(shell=line), ["x"])
    assert render(Command(shell=line), {"x": text}).shell == line.replace(":x:", '"${AUGURY_PARAM_X}"')


@pytest.mark.parametrize(
    ("line", "rendered"),
    [
        ("t :x: >log", "t 2 >log"),
        ("t --kv=:x:", "t --kv=2"),
        (":x: t", "2 t"),
        ("for i in {1..:x:}; do t $i; done", "for i in {1..2}; do t $i; done"),
        ("cd d && t :x: | tee l # don't", "cd d && t 2 | tee l # don't"),
    ],
)
def test_plain_values_stand_as_they_are(line: str, rendered: str) -> None:
    check(Command(shell=line), ["x"])
    assert render(Command(shell=line), {"x": "2"}).shell == rendered


@pytest.mark.parametrize(
    ("line", "problem", "fix"),
    [
        ("t `echo :x:`", "inside backticks", "$(...)"),
        ('t "`echo :x:`"', "inside backticks", "$(...)"),
        ("t `echo \\` :x:`", "inside backticks", "$(...)"),
        ("t $'a :x:'", "inside $'...'", "$'...':x:$'...'"),
        ("t $'\\' :x:'", "inside $'...'", "close the quote"),
        ("t $((1 + :x:))", "arithmetic", "$(expr :x: + 1)"),
        ('t "$((:x: * 2))"', "arithmetic", "expr"),
        ("t $((2 * (:x: + 1)))", "arithmetic", "expr"),
        ("t $[1 + :x:]", "arithmetic", "expr"),
        ("((:x: > 1)) && t", "arithmetic", "expr"),
        ("for ((i = 0; i < :x:; i++)); do t; done", "arithmetic", "expr"),
        ("t $(( $(f ':x:') ))", "arithmetic", "expr"),
        ("t ${V:-:x:}", "inside ${...}", "v=:x:"),
        ('t "${V:-":x:"}"', "inside ${...}", "v=:x:"),
        ("t ${V#':x:'}", "inside ${...}", "v=:x:"),
        ("t ${:x:}", "inside ${...}", "v=:x:"),
        ("cat <<EOF\n:x:\nEOF\n", "here-document", "${AUGURY_PARAM_X}"),
        ("cat <<-'EOF' | t\n\t:x:\n\tEOF\n", "here-document", "without quotes"),
        ("cat <<A; cat <<B\nA\n:x:\nB\n", "here-document", "${AUGURY_PARAM_X}"),
        ("cat <<EOF\nfoo\\\nEOF\n:x:\nEOF\n", "here-document", "${AUGURY_PARAM_X}"),
        ('t "$(cat <<EOF\n:x:\nEOF\n)"', "here-document", "${AUGURY_PARAM_X}"),
        ("cat <<:x:\nEOF\n", "end word", "fixed"),
        ("t \\:x:", "follows a backslash", "double the backslash"),
        ('t "\\:x:"', "follows a backslash", "double the backslash"),
        ("t \\\\\\:x:", "follows a backslash", "double the backslash"),
        ("t $:x:", "follows a '$'", "\\$:x:"),
        ('t "$:x:"', "follows a '$'", "\\$:x:"),
        ("t $\\\n:x:", "follows a '$'", "\\$:x:"),
        ("a[:x:]=1; t", "subscript", "quotes around the whole word"),
        ('declare a[":x:"]=1; t', "subscript", "quotes"),
        ("t >&:x:", "'>&'", "2>&1"),
        ('t 2>& "a :x:"', "'>&'", "2>&1"),
        ('t >& "$(f :x:)"', "'>&'", "2>&1"),
        ("a=([:x:]=1); t", "subscript", "quotes"),
        ("[[ :x: -gt 3 ]] && t", "number in [[ ]]", "[ ... ]"),
        ("if ! [[ a && ( 3 -le ':x:' ) ]]; then t; fi", "number in [[ ]]", "[ ... ]"),
        ("t $'\\'' :x:", "comes after \\' in $'...'", "at the start"),
        ('t "${V:-it\'s}" :x:', 'single quote in "${...}"', "at the start"),
        ("t $((f 'a') ) :x:", "quote or '#' in $((...))", "at the start"),
        ("t ${ f; } :x:", "${ command; }", "at the start"),
        ("(cat <<EOF)\nEOF\nt :x:", "here-document that shells read differently", "at the start"),
    ],
)
def test_places_where_no_value_may_stand_are_refused_with_the_fix(line: str, problem: str, fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(Command(shell=line), ["x"])
    message = str(caught.value)
    assert message.startswith("':x:' in the command ")
    assert problem in message
    assert fix in message
    assert "{" not in message.replace("${", "")


@pytest.mark.parametrize(
    "line",
    [
        "cat <<EOF > f; t :x:\n`$'(\"\nEOF\n",
        "cat <<EOF\n'\nEOF\nt :x:",
        "cat <<\\EOF\nfoo\\\nEOF\nt :x:",
        "cat <<'E F'\n$(\nE F\nt ':x:'",
        "cat <<-E\n\t'\n\tE\nt :x:",
        't "$(cat <<EOF\n\'\nEOF\n)" :x:',
        "t <<< :x:",
        "t <<< ':x:' && echo \"'\"",
        "t # don't\necho :x:",
        "t a#b 'c' :x: # \"",
        "t $# ${#a} $(# it's\necho :x:)",
        "case :x: in a|b) t;; *) t ')';; esac; t ':x:'",
        "t $(case a in a) echo :x:;; (b) echo ';;';; esac) ':x:'",
        "t \"$(if x; then case a in a) echo ')' ;; esac; fi)\" ':x:'",
        "t $(echo case) ':x:'",
        "[[ a == :x: ]] && t",
        "[[ :x: =~ ^(a|b)$ ]] && t",
        "[ :x: -gt 3 ] && t",
        "t 'a[:x:]=1' a[:x:] \"b[:x:]=2\"",
        "t <(f :x:) >(g ':x:')",
        '(t :x:; (u ":x:"))',
        "a=(:x: ':x:'); t",
        't $"a :x:"',
        "t ${V:-'}'} ':x:'",
        't "${V:-"a b"}" \':x:\'',
        "t '' \"\" \\' \\\" :x:",
        "t $((1 << 2)) ':x:'",
        "((1 << 2)); t ':x:'",
        "t $$ $? $! $@ $* $- $0 ':x:'",
        "t 2>&1 &>log >&2 :x: &",
        "t >:x: 2>&1 <':x:' >>\":x:\"; u >&2",
        "f() { t :x:; }; f",
        "t :x: || exit 3",
    ],
)
def test_lines_that_quote_in_their_own_ways_are_accepted(line: str) -> None:
    assert check(Command(shell=line), ["x"]) == []


@pytest.mark.parametrize(
    ("line", "places"),
    [
        ("t :x: ':x:' \":x:\" # :x:", ["plain", "single", "double", "comment"]),
        ('t "$(f :x: ":x:" \':x:\')" :x:', ["plain", "double", "single", "plain"]),
        ('t "$(case a in a) f ":x:" ;; (b) ;; esac) :x:"', ["double", "double"]),
        ('t "$(if a; then case a in a) f :x: ;; esac; fi) :x:"', ["plain", "double"]),
        ('t "$(f # it\'s )\n:x:) :x:"', ["plain", "double"]),
        ('t "$(f <<E\n)"\nE\nf :x:) :x:"', ["plain", "double"]),
        ('t "${V:-$(f \'}\' ")")}:x:"', ["double"]),
        ('t "$((2 * (1 + 1))):x:"', ["double"]),
        ("t `f \\` \"` ':x:'", ["single"]),
    ],
)
def test_places_are_told_apart(line: str, places: list[str]) -> None:
    check(Command(shell=line), ["x"])
    assert [slot.place for slot in scan(line, ("x",)).slots] == places


@pytest.mark.parametrize(
    "line",
    [
        "t ':x:",
        't ":x:',
        "t :x: $(echo",
        "t :x: `",
        "t :x: ${a",
        "(t :x:",
        't :x: "$(echo \'a)"',
        "t :x: $((1)",
    ],
)
def test_a_line_that_never_closes_what_it_opens_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match=r"ends before .+ is closed"):
        check(Command(shell=line.replace("':x:", "'x")), [] if "':x:" in line else ["x"])


def test_a_line_that_nests_without_end_is_refused() -> None:
    with pytest.raises(UsageError, match="nests deeper"):
        check(Command(shell="t :x: " + "$(" * (MAX_DEPTH + 1)), ["x"])
    check(Command(shell="t " + "$(" * 40 + ":x:" + ")" * 40), ["x"])


def test_a_line_of_countless_placeholders_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 1000 placeholders"):
        check(Command(shell="t " + ":x:" * 1001), ["x"])


# --- against the shells themselves

GLUE = st.sampled_from(
    ["", "a", "=", "/", "-", "\\\\", "\\'", '\\"', "\\$", "''", "é", "#", "$EMPTY", "${EMPTY}", "."]
)
SLOT = st.just(":x:")
IN_SINGLE = st.lists(
    st.sampled_from([":x:", "a", '"', "\\", "`", "$(", "$", "${", "#", " ", ")", "(", "}"]), max_size=5
)
IN_DOUBLE = [
    "a",
    "'",
    '\\"',
    "\\\\",
    "\\$",
    "\\`",
    "#",
    " ",
    ")",
    "(",
    "$EMPTY",
    "${EMPTY:-b}",
    "$(true)",
    "`true`",
    "$ ",
]


def double(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    piece = st.one_of(SLOT, st.sampled_from(IN_DOUBLE), inner)
    return st.lists(piece, max_size=5).map(lambda pieces: f'"{"".join(pieces)}"')


SINGLE = IN_SINGLE.map(lambda pieces: f"'{''.join(pieces)}'")
FLAT = st.one_of(SLOT, GLUE, SINGLE, double(st.just("a")))
ARGUMENT = st.lists(FLAT, min_size=1, max_size=4).map("".join)
INNER = st.builds(
    lambda words, tail: f"$(printf '%s.' {' '.join(words)}{tail})",
    st.lists(ARGUMENT, min_size=1, max_size=3),
    st.sampled_from(
        ["", " # it's \")\n", "; true", " | cat", "\ncase a in a) ;; esac\n", " <<'E'\n'\"`\nE\n"]
    ),
)
OUTER = st.lists(st.one_of(FLAT, double(INNER)), min_size=1, max_size=4).map("".join)
VALUE = st.one_of(
    st.sampled_from([value for value in HOSTILE if not value.endswith("\n")]),
    st.text(alphabet=st.characters(exclude_characters="\0\n", codec="utf-8"), max_size=6),
)


@pytest.mark.parametrize("shell", SHELLS[:2])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(templates=st.lists(OUTER, min_size=8, max_size=16), value=VALUE)
def test_any_quoting_gives_what_a_harmless_word_gives(
    shell: str, templates: list[str], value: str, tmp_path: Path
) -> None:
    accepted = []
    for template in templates:
        try:
            check(Command(shell=f"printf '%s\\0' {template}"), ["x"])
        except UsageError:
            continue
        accepted.append(template)
    assume(accepted)
    line = "\n".join(f"printf '%s\\0' {template}" for template in accepted)
    try:
        harmless = run(shell, line.replace(":x:", WORD), {}, tmp_path)
    except Complaint:
        assume(False)  # the drawn line is no script, whatever stands in it
    rendered = render(Command(shell=line), {"x": value})
    assert run(shell, rendered.shell, {"x": value}, tmp_path) == [
        word.replace(WORD, value) for word in harmless
    ]


@given(st.text(alphabet=st.sampled_from(":x'\"\\$`(){}<>#&;|[]\n -Ecas=!~")))
def test_the_scanner_sees_every_placeholder_of_any_line_once(line: str) -> None:
    found = placeholder_pattern(("x", "xx")).finditer(line)
    slots = scan(line, ("x", "xx")).slots
    assert [(slot.start, slot.end) for slot in slots] == [match.span() for match in found]


@pytest.mark.parametrize("text", ["a[$(touch PWNED)]", "$(touch PWNED)", "x; touch PWNED", "`touch PWNED`"])
@pytest.mark.parametrize(
    "line",
    [
        "printf a > :x: ; rm -- :x:",
        "for i in :x: ':x:'; do printf '%s' \"$i\"; done",
        "case :x: in ':x:') ;; esac",
        'A=:x: B=":x:"; export C=:x:; printf \'%s\' "$A$B$C"',
        "[ :x: = ':x:' ] && test -n :x:",
        "printf '%s' :x: | while read -r l; do printf '%s' \"$l\"; done",
        "f() { printf '%s' \"$1\"; }; f :x:",
        "{ printf '%s' :x: ; } 2>&1",
        "if [ :x: -gt 3 ] 2>/dev/null; then :; fi; cd :x: 2>/dev/null || :",
    ],
)
@pytest.mark.parametrize("shell", SHELLS)
def test_no_value_runs_in_the_commands_that_people_write(
    shell: str, line: str, text: str, tmp_path: Path
) -> None:
    command = Command(shell=line)
    check(command, ["x"])
    run(shell, render(command, {"x": text}).shell, {"x": text}, tmp_path)


def test_a_line_is_scanned_once_for_all_runs_of_a_grid() -> None:
    command = Command(shell="python t.py :x: ':y:' && echo \"$(date)\" " + "a" * 5000)
    scan.cache_clear()
    for index in range(1000):
        render(command, {"x": str(index), "y": "a b"})
    assert scan.cache_info().misses == 1
