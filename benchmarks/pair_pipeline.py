"""Feeding pairs: from bytes by index, against pairs as float arrays through ImageDataGenerator.

The usual way decodes with PIL, writes each pair of the epoch out as floats, five negatives per
positive, and changes image after image in Python. Ours keeps each image once as bytes and looks
it up by index. Both flip and turn every image. Each runs in a process of its own, so that its
peak of memory is its own; what the imports take is subtracted.
"""

import argparse
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

NUM_NEGATIVES, SIZE, BATCH_SIZE = 5, (128, 128), 64
TURN_DEGREES = 18


def draw_files(directory: Path, num_pairs: int) -> None:
    rng = np.random.default_rng(0)
    for side in ("left", "right"):
        for index in range(num_pairs):
            coarse = Image.fromarray(rng.integers(0, 256, (7, 6, 3), np.uint8))
            coarse.resize((200, 245)).save(directory / f"{side}{index:04d}.jpg")


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def images_per_second(batches, count: int) -> float:
    """Of the batches after the first, which also pays for starting up."""
    next(batches)
    start = time.perf_counter()
    seen = sum(np.prod(batch.shape[:2]) for batch in itertools.islice(batches, count))
    return float(seen / (time.perf_counter() - start))


def usual_way(left: list[Path], right: list[Path], count: int) -> dict[str, float]:
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    before = megabytes()
    rng = np.random.default_rng(0)
    height, width = SIZE
    pairs = np.empty((2, len(left) * (1 + NUM_NEGATIVES), height, width, 3), "float32")
    for row in range(pairs.shape[1]):
        i, negative = divmod(row, 1 + NUM_NEGATIVES)
        j = rng.integers(len(left)) if negative else i
        for side, path in zip(pairs, (left[i], right[j]), strict=True):
            side[row] = np.asarray(Image.open(path).convert("RGB").resize((width, height)))
    options = {"rotation_range": TURN_DEGREES, "horizontal_flip": True, "vertical_flip": True}
    flows = [ImageDataGenerator(**options).flow(side, batch_size=BATCH_SIZE) for side in pairs]
    batches = (np.stack([next(flow) for flow in flows], axis=1) for _ in iter(int, 1))
    return {"speed": images_per_second(batches, count), "peak": megabytes() - before}


def our_way(left: list[Path], right: list[Path], count: int) -> dict[str, float]:
    from tll_utils import generators, images

    before = megabytes()
    sides = [images.load_all(paths, size=SIZE, progress=False) for paths in (left, right)]
    pairs = generators.pairs(
        SimpleNamespace(left=sides[0], right=sides[1]),
        np.arange(len(left)),
        groups=np.arange(len(left)),
        num_negatives=NUM_NEGATIVES,
        batch_size=BATCH_SIZE,
        augment=images.augmenter(rotation=TURN_DEGREES / 360),
    )
    batches = (pairs[index][0] for index in range(pairs.num_batches))
    return {"speed": images_per_second(batches, count), "peak": megabytes() - before}


WAYS = {"usual": usual_way, "ours": our_way}


def measure(way: str, directory: str, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--batches", str(count), "--way", way, directory]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)


def main(num_pairs: int, num_rounds: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        draw_files(Path(directory), num_pairs)
        # Turn and turn about, so that whatever else the machine does falls on both.
        runs = [{way: measure(way, directory, count) for way in WAYS} for _ in range(num_rounds)]
    speed = {way: max(run[way]["speed"] for run in runs) for way in WAYS}
    peak = {way: min(run[way]["peak"] for run in runs) for way in WAYS}
    for way in WAYS:
        print(f"{way:6} {speed[way]:7.0f} images/s, peak {peak[way]:6.0f} MB above the imports")
    print(f"Ours is {speed['ours'] / speed['usual']:.1f} times as fast (wanted: 5)")
    print(f"and takes {peak['ours'] / peak['usual']:.2f} of the memory (wanted: 0.1)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=800)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batches", type=int, default=30, help="that are timed")
    parser.add_argument("--way", nargs=2, metavar=("WAY", "FOLDER"), help="one of the two, alone")
    options = parser.parse_args()
    if options.way is None:
        main(options.pairs, options.rounds, options.batches)
    else:
        way, folder = options.way
        files = [sorted(Path(folder).glob(f"{side}*.jpg")) for side in ("left", "right")]
        print(json.dumps(WAYS[way](*files, options.batches)))
