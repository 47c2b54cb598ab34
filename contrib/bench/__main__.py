"""`python -m contrib.bench`: measure, print a table, write JSON. Slow figures are no failure."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from contrib.bench import machine, report
from contrib.bench.registry import MEASUREMENTS
from contrib.bench.stage import Settings
from contrib.lab import LabError, LabUnavailable, missing

if TYPE_CHECKING:
    from contrib.bench.stats import Figure

DEFAULT_JSON = Path("build/bench.json")
QUICK_PAIRS = 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m contrib.bench",
        description=__doc__,
        epilog="Measurements: " + "; ".join(f"{m.name}: {m.title}" for m in MEASUREMENTS),
    )
    parser.add_argument(
        "--pairs",
        type=_positive,
        metavar="N",
        help="round trips with each tool, two pairs each (default 5, with --quick 1)",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=[m.name for m in MEASUREMENTS],
        help="measure only this; may be given again",
    )
    parser.add_argument(
        "--json", type=Path, default=DEFAULT_JSON, metavar="PATH", help=f"({DEFAULT_JSON})"
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter: a first glance")
    return parser


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return number


def _tell(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace) -> int:
    """Make the measurements that were asked for; 1 if one could not be made."""
    lacking = missing()
    if lacking:
        raise LabUnavailable(lacking)
    pairs = arguments.pairs or (QUICK_PAIRS if arguments.quick else Settings.pairs)
    settings = Settings(pairs=pairs, quick=arguments.quick, tell=_tell)
    facts = machine.facts()
    print(machine.line(facts))
    print(machine.CAVEAT, flush=True)
    results: dict[str, list[Figure]] = {}
    failed = 0
    began = time.monotonic()
    for measurement in MEASUREMENTS:
        if arguments.only and measurement.name not in arguments.only:
            continue
        print(f"{measurement.name}: {measurement.title}", file=sys.stderr, flush=True)
        try:
            results[measurement.name] = list(measurement.run(settings))
        except LabError as error:
            failed += 1
            print(f"{measurement.name} could not be measured: {error}", file=sys.stderr)
    seconds = time.monotonic() - began
    print()
    print(report.table(figure for figures in results.values() for figure in figures))
    told = {"pairs": pairs, "quick": arguments.quick, "seconds": round(seconds, 1)}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(report.document(facts, told, results))
    print(f"\nMedians, extremes in brackets; {seconds:.0f} s. Every sample: {arguments.json}")
    return 1 if failed else 0


def main() -> int:
    """Run the command line; its exit code."""
    arguments = _parser().parse_args()
    try:
        return measure(arguments)
    except LabUnavailable as error:
        print("Nothing can be measured here. Missing:", file=sys.stderr)
        for item in error.missing:
            print(f"  {item}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; nothing was written.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
