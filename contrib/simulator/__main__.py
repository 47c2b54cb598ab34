import sys, time
from contrib.simulator.run import run
from contrib.simulator.scenario import draw
from collections import Counter
first, count = int(sys.argv[1]), int(sys.argv[2])
t = time.perf_counter(); n = 0; bad = 0; kinds = Counter(); ends = Counter(); virtual=0
for seed in range(first, first + count):
    o = run(draw(seed))
    n += o.migrations; ends += o.ends; virtual += o.virtual_s
    if not o.ok:
        bad += 1; kinds[o.kind] += 1
        print(seed, o.wrong[0][:300])
    if count == 1:
        for at, text in o.timeline: print(f"{at:9.3f} {text}")
dt = time.perf_counter() - t
print(f"{count} runs {bad} bad, {n} migrations {dt:.1f}s {n/dt:.1f}/s, virtual {virtual:.0f}s", kinds, ends)
