"""The result of a torture as a table for docs/guarantees.md."""

from __future__ import annotations

from tests.torture.harness import Torture


def markdown(result: Torture, database: str) -> str:
    """Return the table."""
    plan, findings = result.plan, result.findings
    verdict = "nothing to object to" if findings.ok else "; ".join(findings.lines())
    rows = [
        ("build", plan.build),
        ("database", database),
        ("seed", plan.seed),
        ("workers × slots", f"{plan.workers} × {plan.slots}"),
        ("`--lost-after`", f"{plan.lost_after:g} s"),
        ("time", f"{result.seconds:.0f} s"),
        *findings.numbers.items(),
        ("faults", sum(result.faults.values())),
        *((f"– {kind}", count) for kind, count in sorted(result.faults.items())),
        ("checker", verdict),
    ]
    lines = ["| what | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines) + "\n"
