"""Ranks candidate lists, says how sure the result is, blends systems, writes what Kaggle takes.

Keras is imported with the first name that needs it (`cosine_of`, `compose`, …): whoever checks a
submission waits for NumPy alone.
"""

import importlib
from typing import TYPE_CHECKING, Any

from tll_utils.scoring import ensemble, leaderboard, submission
from tll_utils.scoring.comparison import (
    Comparison,
    comparison_table,
    format_p,
    holm,
    in_words,
    is_sure,
    paired_comparison,
    whole_set_interval,
    wilson_interval,
)
from tll_utils.scoring.matching import Matching, one_to_one
from tll_utils.scoring.ranking import (
    best_pairs,
    chance,
    cosine_scores,
    euclidean_scores,
    expected_top_k,
    gallery_ranks,
    ranks,
    recall_at_k,
    surest_mistakes,
    top_k_accuracy,
    top_k_hits,
    unit_norm,
)

if TYPE_CHECKING:
    from tll_utils.scoring.cells import agreeing_cells
    from tll_utils.scoring.models import can_compose, compose
    from tll_utils.scoring.scorers import Scorer, cosine_of, distance_of, mean_scores, similarity_of

_WITH_KERAS = {
    "agreeing_cells": "cells",
    "Scorer": "scorers",
    "cosine_of": "scorers",
    "distance_of": "scorers",
    "mean_scores": "scorers",
    "similarity_of": "scorers",
    "can_compose": "models",
    "compose": "models",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_KERAS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WITH_KERAS[name]}"), name)
