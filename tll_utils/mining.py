"""Negatives that the current model finds hard, from embeddings.

A pass costs one embedding of every training image and one matrix product; no pair is ever put
through the network.
"""

import numpy as np


def hardest_of_random(anchors, positives, *, groups=None, num_random=200, seed=0):
    """Picks, for each left, the most similar of some random rights that are not its match.

    Args:
        anchors: Float `(n, d)`, embeddings of the lefts.
        positives: Float `(n, d)`, embeddings of their matches, row by row.
        groups: Int `(n,)`; near-duplicates of the match are no negatives. Defaults to one each.
        num_random: Int, rights drawn per left; more than there are means all of them.
        seed: Int.

    Returns:
        Int `(n, 1)`: row of the hardest right for each left.

    Raises:
        ValueError: If some left has no right outside its group.
    """
    distance = squared_distances(anchors, positives)
    allowed = _allowed(len(distance), groups)
    ticket = np.random.default_rng(seed).random(distance.shape)
    ticket[~allowed] = np.inf
    # The `num_random` smallest tickets of a row are its sample without replacement.
    k = min(num_random, ticket.shape[1])
    drawn = allowed & (ticket <= np.partition(ticket, k - 1, axis=1)[:, k - 1 : k])
    return np.where(drawn, distance, np.inf).argmin(axis=1)[:, None]


def margin_violating(anchors, positives, *, margin, groups=None, num_negatives=1, seed=0):
    """Picks random rights that lie less than `margin` farther away than the match.

    A left whose match wins by the margin everywhere would teach a triplet loss nothing; it gets
    its nearest right that is not the match.

    Args:
        anchors: Float `(n, d)`, embeddings of the lefts; unit norm for a triplet loss.
        positives: Float `(n, d)`, embeddings of their matches, row by row.
        margin: Float, in squared L2 distance.
        groups: Int `(n,)`; near-duplicates of the match are no negatives. Defaults to one each.
        num_negatives: Int, rights per left.
        seed: Int.

    Returns:
        Int `(n, num_negatives)`: rows of the rights. Drawn with replacement.

    Raises:
        ValueError: If some left has no right outside its group.

    Reference:
        Schroff et al., 2015, FaceNet, section 3.2.
    """
    distance = squared_distances(anchors, positives)
    allowed = _allowed(len(distance), groups)
    violating = allowed & (distance < np.diagonal(distance)[:, None] + margin)
    nearest = np.where(allowed, distance, np.inf).argmin(axis=1)
    violating[np.arange(len(nearest)), nearest] |= ~violating.any(axis=1)
    # The r-th violating right of a row is where the row's running count passes r.
    count = violating.cumsum(axis=1)
    rng = np.random.default_rng(seed)
    wanted = rng.integers(count[:, -1:], size=(len(count), num_negatives))
    return np.stack([(count > r[:, None]).argmax(axis=1) for r in wanted.T], axis=1)


def squared_distances(anchors, positives):
    """Squared L2 distance of every left to every right: `(n, d)` and `(k, d)` → `(n, k)`."""
    anchors, positives = np.asarray(anchors), np.asarray(positives)
    squares = (anchors**2).sum(axis=1)[:, None] + (positives**2).sum(axis=1)
    return np.maximum(squares - 2 * anchors @ positives.T, 0)


def _allowed(n, groups):
    groups = np.arange(n) if groups is None else np.asarray(groups)
    allowed = groups[:, None] != groups
    if not allowed.any(axis=1).all():
        raise ValueError("Every left needs a right outside its own group; the pool is too small.")
    return allowed
