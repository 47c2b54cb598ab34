"""Makes a failing scenario small: whatever it fails without, it does not need."""

from __future__ import annotations

from typing import Final

from contrib.simulator.run import Outcome, run

TRIES: Final = 120


def shrink(failed: Outcome, tries: int = TRIES) -> Outcome:
    """The smallest outcome found that fails in the same way."""
    best = failed
    while tries > 0:
        for scenario in best.scenario.smaller():
            tries -= 1
            found = run(scenario)
            if found.kind == failed.kind:
                best = found
                break
            if tries <= 0:
                break
        else:
            break
    return best


def story(outcome: Outcome) -> str:
    """What was there, what was wanted, and what happened, for people."""
    s = outcome.scenario
    lines = [f"seed {s.seed}: {s.hosts} hosts, at most {s.outgoing} out and {s.incoming} in"]
    for number, guest in enumerate(s.guests):
        stays = "persistent" if guest.persistent else "transient"
        lines.append(
            f"  g{number}: {guest.memory_mib} MiB, writes {guest.dirty_mib_s} MiB/s in "
            f"{guest.working_set_mib} MiB, {stays}"
        )
    for number, wish in enumerate(s.wishes):
        r = wish.request
        limit = f", {r.on_timeout} after {r.timeout_s:g} s" if r.timeout_s else ""
        lines.append(
            f"  migration {number}: g{wish.guest} to host{chr(97 + wish.to)} at {wish.at_s:g} s, "
            f"post-copy {r.postcopy}, {r.recover_attempts} recoveries{limit}"
        )
    lines += [f"  asked: {a.act} of migration {a.wish}, {a.when}" for a in s.asked]
    lines += [f"  fault: {f.kind}, {f.when}, for {f.for_s:g} s" for f in s.faults]
    lines += [f"{at:10.3f} s  {text}" for at, text in outcome.timeline]
    lines += [f"WRONG: {text}" for text in outcome.wrong] or ["nothing was wrong"]
    return "\n".join(lines)
