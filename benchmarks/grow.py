"""What scoring, matching and blending cost as lists grow: seconds and peak memory per size.

python benchmarks/grow.py [--lists 20000 --m 200]    that size and a tenth of it, a process each

Every step keeps a few arrays of the shape (lists, m); what they take together is the formula that
the last column shows, in bytes per candidate.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

DIM, PAIRS = 128, 20_000
PARTS = ("nothing", "draw", "score", "match", "blend")


def work(part: str, lists: int, m: int) -> None:
    """One step on random embeddings of 20 000 pairs."""
    from tll_utils import scoring
    from tll_utils.data.splits import draw_candidates

    draw = np.random.default_rng(0)
    rows = np.arange(lists) % PAIRS
    candidates = draw.integers(0, PAIRS, (lists, m), dtype=np.int32)
    scores = draw.normal(size=(lists, m)).astype(np.float32)
    if part == "draw":  # once per pair
        draw_candidates(np.zeros(min(lists, PAIRS), int), m=m, seed=0)
    elif part == "score":
        left, right = (draw.normal(size=(PAIRS, DIM)).astype(np.float32) for _ in range(2))
        found = scoring.cosine_scores(left[rows], right, candidates)
        scoring.ranks(found, np.zeros(lists, int))
    elif part == "match":
        scoring.one_to_one(scores, candidates)
    elif part == "blend":
        scoring.ensemble.blend([scores, scores, scores])


def measure(part: str, lists: int, m: int) -> tuple[float, int]:
    """Seconds and peak bytes of one step in a process of its own."""
    command = [sys.executable, __file__, "--part", part, "--lists", str(lists), "--m", str(m)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, peak = done.stdout.split()
    return float(seconds), int(peak)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--lists", type=int, default=20_000)
    parser.add_argument("--m", type=int, default=200)
    options = parser.parse_args()
    if options.part:
        begun = time.process_time()
        work(options.part, options.lists, options.m)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(time.process_time() - begun, peak)
        return
    print("step      lists     m   processor s   peak MB   bytes per candidate beyond the input")
    for lists in (options.lists // 10, options.lists):
        _, before = measure("nothing", lists, options.m)
        for part in PARTS[1:]:
            seconds, peak = measure(part, lists, options.m)
            each = (peak - before) / (lists * options.m)
            size = f"{lists:9d} {options.m:5d} {seconds:13.1f} {peak / 1e6:9.0f}"
            print(f"{part:6} {size} {each:10.1f}", flush=True)


if __name__ == "__main__":
    main()
