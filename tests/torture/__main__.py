"""`python -m tests.torture`: torture by hand, as long and as hard as is asked for."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.support.postgres import Postgres
from tests.torture.harness import Plan, progress, torture
from tests.torture.report import markdown


def main() -> int:
    """Run one torture; exit code 0 when the checker has nothing to object to."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--runs", type=int, default=Plan.runs)
    parser.add_argument("--faults", type=int, default=Plan.faults)
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--minutes", type=float, default=Plan.minutes, help="give up after so long")
    parser.add_argument("--gap", type=float, default=Plan.gap, help="seconds between two faults, on average")
    parser.add_argument("--lost-after", type=float, default=Plan.lost_after)
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--slots", type=int, default=Plan.slots)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--build", choices=("product", "control"), default=Plan.build)
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the table there")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="a new folder for logs and traces, kept")
    options = parser.parse_args()
    words = vars(options)
    database, report, keep = words.pop("database"), words.pop("report"), words.pop("keep")
    with tempfile.TemporaryDirectory(prefix="augury-torture-") as name:
        folder = keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        postgres = Postgres() if database == "postgresql" else None
        try:
            url = postgres.url(postgres.create_database()) if postgres else f"sqlite:///{folder}/store.db"
            result = torture(folder, url, Plan(**words), progress)
        finally:
            if postgres:
                postgres.stop()
        (folder / "faults.log").write_text("\n".join(result.log) + "\n")
    text = markdown(result, database)
    if report:
        report.write_text(text)
    print(text)
    for line in result.findings.lines():
        print(line, file=sys.stderr)
    return 0 if result.findings.ok else 1


if __name__ == "__main__":
    sys.exit(main())
