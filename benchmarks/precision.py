"""What 16 bits cost in top-2: features as the store keeps them, and as bfloat16 computes them.

python benchmarks/precision.py [--backbone mobilenet_v2] [--engine openvino-bfloat16]

Without --engine, features of 32 bits against the same ones from the store. Uses the data set in
TLL_DATA_DIR, else draws the sample data. Nothing is chosen, so all pairs are scored, out of fold.
"""

import argparse

import numpy as np

import tll_utils as tll
from tll_utils import scoring
from tll_utils.features import backbones, embedding, fronts, store, transforms


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split(":")[0])
    arguments.add_argument("--backbone", default="mobilenet_v2")
    arguments.add_argument("--engine", help="what embeds the second time")
    chosen = arguments.parse_args()
    run = tll.start("precision")
    entry = backbones.get(chosen.backbone)
    keys = [f"{entry.taps[-1]}/avg", f"{entry.middle}/avg", f"{entry.middle}/grid3"]
    full = embed(run, chosen.backbone, keys, "auto")
    if chosen.engine:
        less = embed(run, chosen.backbone, keys, chosen.engine)
    else:
        less = {key: store.decoded(*store.coded(rows)) for key, rows in full.items()}
    print(f"{run.caption()}\n{chosen.backbone}, {chosen.engine or 'as stored'} against 32 bits")
    for key in keys:
        for way in ("raw", "standardized", "whitened"):
            compare(run, f"{key}, {way}", *(scores_of(run, way, x[key]) for x in (full, less)))


def embed(run, backbone, keys, engine):
    """Features of the lefts, then of the rights, that have not been through the store."""
    tap = fronts.Tap(backbone, run.weights_of(backbone), run.image_size(backbone), False, "")
    embedder = embedding.Embedder(tap, keys, engine=engine)
    shards = list(
        embedding.embed_files([*run.dataset.left_paths, *run.dataset.right_paths], embedder)
    )
    return {key: np.concatenate([shard[key] for shard in shards]) for key in keys}


def scores_of(run, way, rows):
    left, right = np.split(rows, 2)
    if way == "raw":
        return scoring.cosine_scores(left, right, run.protocol.candidates)
    fit = {"standardized": transforms.standardiser, "whitened": transforms.closed_form}[way]
    scores = np.empty(run.protocol.candidates.shape, np.float32)
    for train, valid in run.protocol.splits():
        scorer = scoring.cosine_of(fit(left[train], right[train]))
        scores[valid] = scorer(left[valid], right, run.protocol.candidates[valid])
    return scores


def compare(run, label, full, less):
    before, after = (scoring.top_k_hits(s, run.protocol.true_place) for s in (full, less))
    found = scoring.paired_comparison(after, before, seed=run.seed)
    print(
        f"  {label}: top-2 {before.mean():.4f} -> {after.mean():.4f} "
        f"({found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]), "
        f"{(before != after).sum()} of {len(before)} hits differ, "
        f"scores by up to {np.abs(full - less).max():.1e}"
    )


if __name__ == "__main__":
    main()
