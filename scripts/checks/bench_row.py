"""bench_row.py <yardstick's run> [its flags]: the yardstick with this crate's row, the floor, and the floor once more.

Ratios are medians within one run, to the faster floor. The second floor is the control: where the two differ by more
than a tenth, the machine was too restless for the figures to count. The exit status is not 0 if an output is wrong."""

import json
import statistics
import sys
import tempfile
from pathlib import Path

OWN, CONTROL = "landfall", "floor again"


def yardstick(script, flags):
    """Runs the yardstick's own code with one more contestant, and gives all its measurements."""
    source = Path(script).read_text().rstrip()
    if not source.endswith("\nmain()"):
        sys.exit(f"{script} is not the yardstick that this script knows")
    space = {"__name__": "yardstick", "__file__": script}
    exec(compile(source.removesuffix("main()"), script, "exec"), space)
    space["CONTESTANTS"][CONTROL] = space["CONTESTANTS"]["floor"]
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        sys.argv = [script, *flags, "--json", out.name]
        space["main"]()
        return json.load(open(out.name))


def median(runs, contestant, field="wall"):
    values = [r[field] for r in runs if r["contestant"] == contestant]
    return statistics.median(values) if values else None


def main():
    script, flags = sys.argv[1], sys.argv[2:]
    if "--memory" in flags:
        return memory(script)
    runs = yardstick(script, ["--only", "floor,landfall", *flags])
    own = [r for r in runs if r["contestant"] == OWN]
    wrong = [r["verified"] for r in own if r["verified"] != "ok"]
    figures, walls = {}, {}
    print()
    for w in ["W1", "W2", "W3", "W4"]:
        here = [r for r in runs if r["workload"] == w]
        if not here:
            continue
        walls[w] = median(here, OWN)
        floor = min(m for m in (median(here, "floor"), median(here, "floor, arrow-json")) if m)
        control = median(here, CONTROL) / median(here, "floor")
        figures[f"{w.lower()}_ratio"] = walls[w] / floor
        counts = "counts" if abs(control - 1) <= 0.1 else "does NOT count: the two floors differ by more than a tenth"
        print(f"{w}: ratio {walls[w] / floor:.3f}, control {control:.3f} ({counts})")
    if "W1" in walls and "W4" in walls:
        print(f"W4 to own W1: {walls['W4'] / walls['W1']:.3f}")
    figures.pop("w4_ratio", None)
    if wrong:
        print(f"WRONG output: {sorted(set(wrong))}")
    print(" ".join(f"{k}={v:.3f}" for k, v in figures.items()), f"peak_mb={max(r['rss'] for r in own):.0f}")
    return 1 if wrong or not own else 0


def memory(script):
    peaks, keys = {}, {}
    for records in [1_000_000, 4_000_000]:
        runs = yardstick(script, ["--only", OWN, "--workloads", "W1", "--rounds", "1", "--records", str(records)])
        if any(r["verified"] != "ok" for r in runs):
            sys.exit(f"wrong output: {runs}")
        peaks[records], keys[records] = max(r["rss"] for r in runs), records * 0.999
    small, large = peaks
    per_key = (peaks[large] - peaks[small]) * 1e6 / (keys[large] - keys[small])
    print(f"peak_mb_1m={peaks[small]:.0f} peak_mb_4m={peaks[large]:.0f} bytes_per_key={per_key:.1f}")
    return 0


sys.exit(main())
