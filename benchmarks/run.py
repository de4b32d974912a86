"""What is fast, against what, measured side by side: python benchmarks/run.py [--share 0.1]

Uses the data set in TLL_DATA_DIR, else draws the sample data; how long an image takes depends on
neither. All figures are ratios or come from one run on one machine.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tll_utils import data
from tll_utils.data import sample
from tll_utils.errors import WeightsNotFound
from tll_utils.features import weights as weight_files
from tll_utils.settings import Settings

HERE = Path(__file__).resolve().parent
NUM_CANDIDATES = 20


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split(":")[0])
    arguments.add_argument(
        "--share", type=float, default=1.0, help="of the images, to try the benchmarks out"
    )
    share = arguments.parse_args().share
    weights = find_weights()
    print(f"MobileNetV2 at 224, {'ImageNet' if weights else 'random'} weights, {share:.0%} share")
    with tempfile.TemporaryDirectory() as folder:
        paths = image_files(int(32000 * share), Path(folder))
        job = {"weights": weights or "random", "store_dir": folder}
        compare_scoring(paths[: int(4000 * share)], weights, job)
        compare_pipeline(paths[: int(1600 * share)], job)
        counts = [int(n * share) for n in (500, 2000, 8000, 32000)]
        show_scaling(paths, counts, job, queries=int(2000 * share))


def compare_scoring(paths, weights, job):
    queries, gallery = np.split(np.array(paths), 2)
    candidates = np.random.default_rng(0).integers(0, len(gallery), (len(queries), NUM_CANDIDATES))
    few = min(30, len(queries))
    lists = [(query, gallery[row].tolist()) for query, row in zip(queries[:few], candidates)]  # noqa: B905
    usual = run("usual_way.py", weights=weights, queries=lists)
    whole = usual["seconds_to_build"] + usual["seconds"] / few * len(queries)
    print(f"\nScoring {len(queries)} queries × {NUM_CANDIDATES} candidates, network built anew")
    print(f"  usual way       {whole:8.1f} s   peak {usual['peak_gib']:.2f} GiB   "
          f"({few} queries measured, the rest extrapolated linearly)")  # fmt: skip
    goals = {"auto": 45, "openvino-bfloat16": 80}
    if not importlib.util.find_spec("openvino"):
        del goals["openvino-bfloat16"]
        print("  without OpenVINO: pip install 'tll-utils[fast]'")
    for engine, goal in goals.items():
        ours = run("our_way.py", "score", **{
            **job,
            "engine": engine,
            "store_dir": f"{job['store_dir']}/{engine}",
            "query_paths": queries.tolist(),
            "gallery_paths": gallery.tolist(),
            "candidates": candidates.tolist(),
            "num_compared": few,
        })  # fmt: skip
        print(f"  engine {engine}: {ours['seconds']:.1f} s, peak {ours['peak_gib']:.2f} GiB")
        verdict("times as fast", whole / ours["seconds"], at_least=goal)
        verdict("GiB peak memory", ours["peak_gib"], at_most=1.5)
        if weights:
            difference = np.abs(np.subtract(usual["scores"], ours["scores"])).mean()
            print(f"  scores differ by {difference:.4f} on average; PIL and OpenCV resize apart")


def compare_pipeline(paths, job):
    seconds = run("our_way.py", "pipeline", **job, paths=paths, turns=3)
    print(f"\nFiles against tensors in memory, {len(paths)} images, three turns each")
    verdict("of the network's throughput", seconds["memory"] / seconds["files"], at_least=0.92)


def show_scaling(paths, counts, job, *, queries):
    # In two processes: one knows what it has read itself, and would not look at the files again.
    first, second = (
        run("our_way.py", "scale", **job, paths=paths, counts=counts)["seconds"] for _ in range(2)
    )
    print("\nCost against size\n  images      first run   second run")
    for count, cold, warm in zip(counts, first, second, strict=True):
        print(f"  {count:6d}   {cold:9.1f} s   {warm:8.2f} s   {cold / warm:5.0f} times as fast")
    verdict("times as fast when warm", first[-1] / second[-1], at_least=100)
    lengths = [20, 200, 2000]
    seconds = run("our_way.py", "score_many", num_queries=queries, candidates=lengths)["seconds"]
    print(f"  candidates per query, {queries} queries, features in memory")
    for length, taken in zip(lengths, seconds, strict=True):
        print(f"  {length:6d}   {taken:9.2f} s")


def verdict(what, value, *, at_least=None, at_most=None):
    goal = f"at least {at_least:g}" if at_most is None else f"at most {at_most:g}"
    good = value <= at_most if at_least is None else value >= at_least
    print(f"  → {value:.2f} {what} (goal: {goal}{'' if good else '; MISSED'})")


def run(script, *arguments, **job):
    """Runs a part in a process of its own, so that memory and caches are its own."""
    done = subprocess.run(
        [sys.executable, HERE / script, *arguments],
        input=json.dumps(job),
        capture_output=True,  # TensorFlow's start-up noise is of interest only when a part fails
        text=True,
    )
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def find_weights():
    try:
        return str(weight_files.find_weights("mobilenet_v2"))
    except WeightsNotFound:
        return None


def image_files(count, folder):
    """`count` files of different content: those of the data set, then copies with a comment."""
    data_dir = Settings.from_environment().data_dir
    if data_dir is None:
        data_dir = sample.draw(folder / "sample")
    dataset = data.load(data_dir)
    files = [
        *dataset.query_paths, *dataset.gallery_paths, *dataset.left_paths, *dataset.right_paths
    ]  # fmt: skip
    files = list(dict.fromkeys(map(str, files)))
    for i in range(count - len(files)):
        content = Path(files[i]).read_bytes()
        copy = folder / f"{i}.jpg"
        # A JPEG comment changes the content and no pixel.
        copy.write_bytes(content[:2] + b"\xff\xfe\x00\x06%04d" % (i % 10_000) + content[2:])
        files.append(str(copy))
    return files[:count]


if __name__ == "__main__":
    main()
