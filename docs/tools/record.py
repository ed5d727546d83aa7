"""Record a real search in a terminal and write it as an animated SVG.

    python docs/tools/record.py [FILE]        docs/images/search.svg unless given

It needs tmux, and `augury` on the PATH. A shell in a fresh folder with `examples/train.py` gets the commands
below typed; what it then shows is captured a few times a second. Nothing on the picture is drawn by hand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "images" / "search.svg"

COLUMNS, LINES = 100, 42
SLOTS = 3
SEARCH = r"""augury hyper bayesian --watch --num-runs 12 --parallel-runs 3 \
--metric keras/val_acc --metric-agg last \
--param rate=.001:1.0:log --param layers=2:20:int -- \
python train.py --learning_rate :rate: --num_layers :layers:"""
BEST = "augury hyper best 1"

#: Seconds between two looks at the terminal, before a prompt is believed, until a command counts as stuck.
LOOK, SETTLED, PATIENCE = 0.25, 0.5, 120.0
#: Seconds that the end of the search, and the end of all, are shown.
PAUSE, REST = 2.0, 8.0
#: No picture is shown longer or shorter than this, in seconds.
SHORTEST, LONGEST = 0.4, 1.5

FONT, LINE, CHARACTER, MARGIN = 14, 19, 8.43, 14
BACKGROUND, FOREGROUND = "#16181d", "#d7dae0"
#: The colours of a terminal that are used here, by their numbers.
COLOURS = {1: "#ec7f79", 2: "#7fc77f", 3: "#dcbb6c", 5: "#cf8fd6", 6: "#6cc5d8"}
DIM = "#868c97"


@dataclass
class Frame:
    """What the terminal showed, each line as SVG, and for how many seconds."""

    lines: list[str]
    seconds: float


class Terminal:
    """A shell in a tmux server of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        size = ("-x", str(COLUMNS), "-y", str(LINES))
        self._tmux(
            "-f", os.devnull, "new-session", "-d", "-s", "record", *size, "bash", "--noprofile", "--norc"
        )

    def type(self, text: str) -> None:
        """Type `text` and press Enter."""
        self._tmux("send-keys", "-t", "record", "-l", text)
        self._tmux("send-keys", "-t", "record", "Enter")

    def lines(self) -> list[Text]:
        """Return the lines on the screen with their colours, blank ones at the end left out."""
        # Decoded as a whole: a colour goes on over the end of a line.
        text = Text.from_ansi(self._tmux("capture-pane", "-e", "-p", "-t", "record"))
        shown = list(text.split("\n", allow_blank=True))
        while shown and not shown[-1].plain.strip():
            shown.pop()
        return shown

    def close(self) -> None:
        """End the shell and its server."""
        self._tmux("kill-server")

    def _tmux(self, *words: str) -> str:
        return subprocess.run(
            ["tmux", "-u", "-S", str(self._folder / "tmux"), *words],
            env=self._environment,
            cwd=self._folder,
            check=True,
            capture_output=True,
            text=True,
        ).stdout


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Give a shell beside a copy of the training, with an instance that ends afterwards."""
    with tempfile.TemporaryDirectory(prefix="augury-record-") as name:
        folder = Path(name)
        shutil.copy(ROOT / "examples" / "train.py", folder)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": name,
            "AUGURY_HOME": str(folder / "home"),
            "AUGURY_SLOTS": str(SLOTS),
            # One thread to a training: the runs side by side are what uses the cores.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "LANG": "C.UTF-8",
            "PS1": "$ ",
            "PS2": "      ",
        }
        subprocess.run(["augury", "up"], env=environment, check=True, capture_output=True)
        screen = Terminal(folder, environment)
        try:
            yield screen
        finally:
            screen.close()
            subprocess.run(["augury", "down", "--force"], env=environment, check=False, capture_output=True)


def recorded(screen: Terminal, command: str) -> list[Frame]:
    """Type `command` and return what is seen until the shell prompts again."""
    frames: list[Frame] = []
    screen.type(command)
    began = looked = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        time.sleep(LOOK)
        shown, now = screen.lines(), time.monotonic()
        done = bool(shown) and shown[-1].plain.strip() == "$" and now - began > SETTLED
        lines = [spans(line) for line in (shown[:-1] if done else shown)]
        if frames and frames[-1].lines == lines:
            frames[-1].seconds += now - looked
        elif lines:
            frames.append(Frame(lines, now - looked))
        looked = now
        if done:
            return frames
    raise SystemExit(f"not done after {PATIENCE:g} s: {command}")


def picture(frames: list[Frame]) -> str:
    """Return the frames as one SVG that shows them in turn, or the last one where motion is unwanted."""
    total = sum(frame.seconds for frame in frames)
    width = round(COLUMNS * CHARACTER + 2 * MARGIN)
    height = max(len(frame.lines) for frame in frames) * LINE + 2 * MARGIN
    known: dict[str, int] = {}
    groups, styles, begin = [], [], 0.0
    for number, frame in enumerate(frames):
        uses = []
        for place, line in enumerate(frame.lines):
            if line:
                uses.append(f'<use href="#l{known.setdefault(line, len(known))}" y="{place * LINE}"/>')
        last = number == len(frames) - 1
        groups.append(
            f'<g class="f{" z" if last else ""}" style="animation-name:f{number}">{"".join(uses)}</g>'
        )
        shown, hidden = 100 * begin / total, 100 * (begin + frame.seconds) / total
        before = "" if number == 0 else "0%{visibility:hidden}"
        after = "" if last else f"{hidden:.3f}%,100%{{visibility:hidden}}"
        styles.append(f"@keyframes f{number}{{{before}{shown:.3f}%{{visibility:visible}}{after}}}")
        begin += frame.seconds
    colours = "".join(f".c{number}{{fill:{colour}}}" for number, colour in COLOURS.items())
    texts = "".join(
        f'<text id="l{number}" y="{MARGIN + FONT}">{line}</text>' for line, number in known.items()
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">
<title>A terminal: augury hyper bayesian with --watch, then augury hyper best</title>
<style>
text{{font:{FONT}px ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;fill:{FOREGROUND}}}
.b{{font-weight:bold}}.d{{fill:{DIM}}}{colours}
.f{{visibility:hidden;animation:{total:.2f}s step-end infinite}}.z{{visibility:visible}}
@media(prefers-reduced-motion:reduce){{.f{{animation:none}}}}
{chr(10).join(styles)}
</style>
<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>
<defs>{texts}</defs>
{chr(10).join(groups)}
</svg>
"""


def spans(line: Text) -> str:
    """Return one line of the terminal as `tspan` elements, each at its own column; empty for a blank one."""
    written, column = [], 0
    for segment in line.render(Console(width=COLUMNS)):
        # Gaps are left out: not every renderer keeps white space.
        for piece in re.split(r"(\s{2,})", segment.text):
            if piece.strip():
                x, width = MARGIN + column * CHARACTER, cell_len(piece.rstrip()) * CHARACTER
                place = f'x="{x:.1f}" textLength="{width:.1f}" lengthAdjust="spacingAndGlyphs"'
                written.append(
                    f"<tspan {place}{look(segment.style)}>{escape(piece.rstrip(), quote=False)}</tspan>"
                )
            column += cell_len(piece)
    return "".join(written)


def look(style: Style | None) -> str:
    """Return the attributes that stand for a style of the terminal."""
    if style is None:
        return ""
    names = [name for name, on in (("b", style.bold), ("d", style.dim)) if on]
    fill = ""
    if style.color is not None and not style.color.is_default and not style.dim:
        if style.color.number in COLOURS:
            names.append(f"c{style.color.number}")
        else:
            fill = f' style="fill:{style.color.get_truecolor().hex}"'
    return (f' class="{" ".join(names)}"' if names else "") + fill


def paced(frames: list[Frame], rest: float) -> list[Frame]:
    """Return frames at a pace that can be read: none flashes by, none stays for long but the last."""
    for frame in frames:
        frame.seconds = min(max(frame.seconds, SHORTEST), LONGEST)
    frames[-1].seconds = rest
    return frames


def main() -> None:
    """Record and write the picture."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    with terminal() as screen:
        frames = paced(recorded(screen, SEARCH), PAUSE) + paced(recorded(screen, BEST), REST)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(picture(frames), encoding="utf-8")
    print(f"{target}: {len(frames)} pictures, {target.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
