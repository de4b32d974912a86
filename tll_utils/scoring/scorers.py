"""What `Run.cross_validate` asks of a system: `(queries, gallery, candidates)` → scores.

A scorer encodes each image once, however many lists it stands in, and then scores embeddings. It
keeps its networks, so that `scoring.compose` can make one model of the scorers of all folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import numpy as np

from tll_utils.features import encode, encoding
from tll_utils.scoring.ranking import cosine_scores, euclidean_scores


class Scorer:
    """Scores candidate lists; its kinds are `cosine_of`, `distance_of` and `similarity_of`.

    Args:
        encoder: Keras model or layer, what the arrays hold → `(batch, d)`; None = the arrays
            themselves, `(n, d)`.
        batch_size: Images at a time.

    Attributes:
        network: Keras model, embeddings `left` and `right` → one score; None without one.

    Call arguments:
        queries: Array `(n, …)`, features or images as the encoder takes them.
        gallery: Array `(g, …)`, likewise.
        candidates: Int `(n, m)`, positions in `gallery`.

    Returns:
        Float32 `(n, m)`, higher = more alike.
    """

    network: keras.Model | None = None

    def __init__(self, encoder: keras.layers.Layer | None = None, *, batch_size: int = 256):
        self.encoder = encoder
        self.batch_size = batch_size

    def __call__(
        self, queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray
    ) -> np.ndarray:
        # Of the fold that is scored, a list names a fraction of the gallery: the rest can wait.
        listed, places = np.unique(candidates, return_inverse=True)
        gallery = gallery if len(listed) == len(gallery) else gallery[listed]
        return self.score_embeddings(
            self._embed(queries), self._embed(gallery), places.reshape(candidates.shape)
        )

    def score_embeddings(
        self, queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray
    ) -> np.ndarray:
        """Scores what the encoder gave: `(n, d)`, `(g, d)` and `(n, m)` → float32 `(n, m)`."""
        raise NotImplementedError

    def _embed(self, inputs: np.ndarray) -> np.ndarray:
        if self.encoder is None:
            return np.asarray(inputs)
        return encode(self.encoder, inputs, batch_size=self.batch_size)


class CosineScorer(Scorer):
    """Scores candidate lists by the cosine of embeddings, in [−1, 1]; arguments as of `Scorer`."""

    score_embeddings = staticmethod(cosine_scores)


class DistanceScorer(Scorer):
    """Scores candidate lists by minus the Euclidean distance of embeddings; see `Scorer`."""

    score_embeddings = staticmethod(euclidean_scores)


class NetworkScorer(Scorer):
    """Scores candidate lists with a network that takes two embeddings.

    A network that ends in a sigmoid says exactly 1 wherever it is very sure, and ties count
    against it: one that ends in the logit ranks the same and has no ties.

    Args:
        encoder, batch_size: See `Scorer`.
        network: Model with the inputs `{"left", "right"}`, each `(batch, d)` → `(batch, 1)`,
            higher = more alike.

    Raises:
        ValueError: If the network has other inputs.
    """

    network: keras.Model
    pairs_at_once = 4096  # bounds memory

    def __init__(
        self, encoder: keras.layers.Layer | None, network: keras.Model, *, batch_size: int = 256
    ):
        inputs = getattr(network, "input", None)  # Sequential models may have none yet
        if not isinstance(inputs, dict) or set(inputs) != {"left", "right"}:
            raise ValueError(
                "`network` must be a keras.Model with the inputs {'left': …, 'right': …}. "
                f"Received: {network} with inputs {inputs}"
            )
        super().__init__(encoder, batch_size=batch_size)
        self.network = network

    def score_embeddings(
        self, queries: np.ndarray, gallery: np.ndarray, candidates: np.ndarray
    ) -> np.ndarray:
        left, right = np.repeat(np.arange(len(queries)), candidates.shape[1]), candidates.ravel()
        queries, gallery = np.asarray(queries, np.float32), np.asarray(gallery, np.float32)
        call = encoding.compiled(
            self.network, {"left": queries.shape[1:], "right": gallery.shape[1:]}
        )
        scores = np.empty(len(left), np.float32)
        size = encoding.even_batch_size(len(left), self.pairs_at_once)
        for start in range(0, len(left), size):
            rows = slice(start, start + size)
            sides = {"left": queries[left[rows]], "right": gallery[right[rows]]}
            found = call({name: encoding.filled(side, size) for name, side in sides.items()})
            scores[rows] = np.asarray(found)[: len(scores[rows]), 0]
        return scores.reshape(candidates.shape)


cosine_of, distance_of, similarity_of = CosineScorer, DistanceScorer, NetworkScorer


def mean_scores(
    scorers: Sequence[Callable[..., np.ndarray]],
    queries: np.ndarray,
    gallery: np.ndarray,
    candidates: np.ndarray,
) -> np.ndarray:
    """The mean of what several scorers, one per fold, say of the same lists; float32 `(n, m)`."""
    parts = [scorer(queries, gallery, candidates) / len(scorers) for scorer in scorers]
    return np.asarray(np.sum(parts, axis=0), np.float32)
