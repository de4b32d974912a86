"""The project's parts under the stop-watch. Each function is run in a process of its own by
`run.py`: it takes a job read from standard input as JSON and prints its answer in JSON.
"""

import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tll_utils import features, images, scoring
from tll_utils.features import embedding, fronts

BACKBONE, KEY, SIZE = "mobilenet_v2", "out_relu/avg", (224, 224)


def embed(job, paths):
    rows = features.embed(
        paths,
        BACKBONE,
        keys=[KEY],
        weights=job["weights"],
        store_dir=job["store_dir"],
        engine=job.get("engine", "auto"),
        progress=False,
    )
    return rows[KEY]


def score(job):
    """Embeds all images into an empty store, then scores all queries; building included."""
    start = time.perf_counter()
    rows = embed(job, job["query_paths"] + job["gallery_paths"])
    queries, gallery = np.split(rows, [len(job["query_paths"])])
    scores = scoring.cosine_scores(queries, gallery, np.array(job["candidates"]))
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "scores": scores[: job["num_compared"]].tolist()}


def pipeline(job):
    """Files on disk against tensors in memory through the same network, by turns.

    The tensors, too, go through it as many batches at a time as suits it.
    """
    tap = fronts.Tap(BACKBONE, job["weights"], SIZE, False, KEY, 0)
    embedder = embedding.Embedder(tap, [KEY], engine=job.get("engine", "auto"))
    paths, size = job["paths"], embedder.batch_size
    batches = list(images.stream(paths[: 16 * size], size=SIZE, batch_size=size))
    batches = [batches[i % len(batches)] for i in range(len(paths) // size)]
    seconds = {"files": 0.0, "memory": 0.0}
    for turn in range(1 + job["turns"]):
        start = time.perf_counter()
        with ThreadPoolExecutor(embedder.num_threads) as pool:
            list(pool.map(lambda batch: np.asarray(embedder(batch)[KEY]), batches))
        middle = time.perf_counter()
        for _ in embedding.embed_files(paths, embedder):
            pass
        if turn:  # the first turn warms up
            seconds["memory"] += middle - start
            seconds["files"] += time.perf_counter() - middle
    return seconds


def scale(job):
    """Seconds to embed more and more images, in a store for each number."""
    seconds = []
    for count in job["counts"]:
        start = time.perf_counter()
        embed({**job, "store_dir": f"{job['store_dir']}/{count}"}, job["paths"][:count])
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}


def score_many(job):
    """Seconds to score lists of several lengths once the features are there."""
    rng = np.random.default_rng(0)
    queries, gallery = rng.standard_normal((2, job["num_queries"], 1280)).astype(np.float32)
    seconds = []
    for m in job["candidates"]:
        lists = rng.integers(0, len(gallery), (len(queries), m))
        start = time.perf_counter()
        scoring.cosine_scores(queries, gallery, lists)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}


def main():
    answer = {f.__name__: f for f in (score, pipeline, scale, score_many)}[sys.argv[1]]
    result = answer(json.load(sys.stdin))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({**result, "peak_gib": peak}))


if __name__ == "__main__":
    main()
