"""The checker of `tests/torture` reads traces rightly."""

from __future__ import annotations

from pathlib import Path

from tests.torture import traces


def write(folder: Path, name: str, run: int, stamps: list[float]) -> None:
    (folder / name).write_text("".join(f"{run} 1 {stamp:.4f} 7\n" for stamp in stamps))


def every_50_ms(begin: float, end: float) -> list[float]:
    return [begin + 0.05 * step for step in range(round((end - begin) / 0.05) + 1)]


def test_attempts_one_after_another_do_not_overlap(tmp_path: Path) -> None:
    write(tmp_path, "1-1-a.10", 1, every_50_ms(10, 12))
    write(tmp_path, "1-2-b.11", 1, every_50_ms(12.01, 13))
    write(tmp_path, "2-1-c.12", 2, every_50_ms(10, 13))
    found = traces.read(tmp_path)
    assert [one.name for one in found] == ["1-1-a", "1-2-b", "2-1-c"]
    assert traces.overlaps(found) == []
    assert traces.most_at_once(found) == 2


def test_two_attempts_at_once_are_found_whichever_process_it_was(tmp_path: Path) -> None:
    write(tmp_path, "1-1-a.10", 1, every_50_ms(10, 11))
    write(tmp_path, "1-1-a.11", 1, every_50_ms(10.5, 12))
    write(tmp_path, "1-2-b.12", 1, every_50_ms(11.7, 13))
    [overlap] = traces.overlaps(traces.read(tmp_path))
    assert round(overlap.seconds, 3) == 0.3
    assert not overlap.allowed


def test_one_stamp_beside_a_successor_counts(tmp_path: Path) -> None:
    write(tmp_path, "1-1-a.10", 1, [10.0])
    write(tmp_path, "1-2-b.12", 1, every_50_ms(9.9, 11))
    assert len(traces.overlaps(traces.read(tmp_path))) == 1


def test_a_frozen_attempt_may_be_alive_beside_its_successor_for_half_a_second(tmp_path: Path) -> None:
    write(tmp_path, "1-1-a.10", 1, [*every_50_ms(10, 11), *every_50_ms(20, 20.4)])
    write(tmp_path, "1-2-b.12", 1, every_50_ms(19, 25))
    [overlap] = traces.overlaps(traces.read(tmp_path))
    assert round(overlap.seconds, 3) == 0.4
    assert overlap.allowed
    write(tmp_path, "1-1-a.10", 1, [*every_50_ms(10, 11), *every_50_ms(20, 20.7)])
    [overlap] = traces.overlaps(traces.read(tmp_path))
    assert not overlap.allowed
