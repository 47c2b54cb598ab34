"""Runs many seeds, or tells the story of one.

    python -m contrib.simulator --count 1000 [--seed 1] [--minutes 10] [--jobs 2]
    python -m contrib.simulator --story 4711

What fails is made smaller and told. Exit status 1: something was wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from time import monotonic, process_time
from typing import Final

from contrib.simulator.run import run
from contrib.simulator.scenario import draw
from contrib.simulator.shrink import shrink, story

BATCH: Final = 20


@dataclass
class Total:
    """What came of some seeds."""

    runs: int = 0
    migrations: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    ends: Counter[str] = field(default_factory=Counter)
    failed: dict[int, tuple[str, str]] = field(default_factory=dict)
    """By seed: the kind, and what was wrong in full."""

    def add(self, other: Total) -> None:
        """Take up what came of some more."""
        self.runs += other.runs
        self.migrations += other.migrations
        self.virtual_s += other.virtual_s
        self.cpu_s += other.cpu_s
        self.ends += other.ends
        self.failed |= other.failed


def batch(seeds: range) -> Total:
    """Run these."""
    total, began = Total(), process_time()
    for seed in seeds:
        outcome = run(draw(seed))
        total.runs += 1
        total.migrations += outcome.migrations
        total.virtual_s += outcome.virtual_s
        total.ends += outcome.ends
        if not outcome.ok:
            total.failed[seed] = (outcome.kind, outcome.wrong[0])
    total.cpu_s = process_time() - began
    return total


def _batches(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, BATCH):
        yield range(start, min(start + BATCH, first + count))


def many(first: int, count: int, jobs: int, until: float) -> Total:
    """Run `count` seeds from `first` on, in `jobs` processes, and no longer than `until`."""
    total, began = Total(), monotonic()
    told = began
    waiting = _batches(first, count)
    with ProcessPoolExecutor(jobs) as pool:
        out: set[Future[Total]] = set()
        while True:
            while len(out) < jobs + 1 and monotonic() < until:
                seeds = next(waiting, None)
                if seeds is None:
                    break
                out.add(pool.submit(batch, seeds))
            if not out:
                return total
            done, out = wait(out, return_when=FIRST_COMPLETED)
            for future in done:
                found = future.result()
                total.add(found)
                for seed, (_, what) in found.failed.items():
                    print(f"seed {seed}: {what}", flush=True)
            if monotonic() - told >= 10:
                told = monotonic()
                rate = total.migrations / (told - began)
                print(
                    f"... {total.runs} runs, {total.migrations} migrations, {rate:.1f} a second",
                    file=sys.stderr,
                    flush=True,
                )


def tell(seed: int) -> bool:
    """Tell the story of a seed, made small if it fails; False if it does."""
    outcome = run(draw(seed))
    print(story(outcome if outcome.ok else shrink(outcome)))
    return outcome.ok


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m contrib.simulator", description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="seeds to run")
    parser.add_argument("--seed", type=int, default=1, help="the first of them")
    parser.add_argument("--minutes", type=float, default=0.0, help="end after so long")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--story", type=int, help="tell what happens with this seed")
    given = parser.parse_args()
    if given.story is not None:
        return 0 if tell(given.story) else 1
    began = monotonic()
    until = began + given.minutes * 60 if given.minutes else float("inf")
    total = many(given.seed, given.count, given.jobs, until)
    kinds = Counter(kind for kind, _ in total.failed.values())
    for kind in kinds:
        seed = next(seed for seed, (k, _) in total.failed.items() if k == kind)
        print(f"\n{kind} ({kinds[kind]} of {total.runs} runs), for example:")
        tell(seed)
    seconds = monotonic() - began
    ends = ", ".join(f"{number} {end}" for end, number in sorted(total.ends.items()))
    print(
        f"{total.runs} runs, {len(total.failed)} with something wrong; {total.migrations} "
        f"migrations ({ends}) in {total.virtual_s / 3600:.1f} virtual hours, {seconds:.0f} s: "
        f"{total.migrations / seconds * 3600:.0f} an hour, "
        f"{total.migrations / max(0.1, total.cpu_s) * 3600:.0f} an hour of one core"
    )
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
