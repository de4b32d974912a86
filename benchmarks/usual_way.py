"""The usual way to score candidates, as a baseline: nothing of this project is used here.

Per query: load 21 images with PIL, stack them, one `model.predict`, cosine. Reads a job from
standard input as JSON and answers in JSON; `run.py` starts it.
"""

import json
import resource
import sys
import time

import keras
import numpy as np
from PIL import Image


def load(path):
    return np.asarray(Image.open(path).convert("RGB").resize((224, 224)), dtype="float32")


def score(model, query, candidates):
    images = np.stack([load(path) for path in [query, *candidates]])
    images = keras.applications.mobilenet_v2.preprocess_input(images)
    features = model.predict(images, verbose=0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features[1:] @ features[0]


def main():
    job = json.load(sys.stdin)
    start = time.perf_counter()
    model = keras.applications.MobileNetV2(
        include_top=False, pooling="avg", weights=job["weights"], input_shape=(224, 224, 3)
    )
    score(model, *job["queries"][0])  # compiles
    ready = time.perf_counter()
    scores = [score(model, query, candidates).tolist() for query, candidates in job["queries"]]
    answer = {
        "seconds_to_build": ready - start,
        "seconds": time.perf_counter() - ready,
        "scores": scores,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
