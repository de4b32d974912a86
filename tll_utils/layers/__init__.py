"""Keras layers that travel inside saved models: nothing of a model is left in Python code outside.

All are written in `keras.ops`, run on every Keras backend and under every dtype policy, and are
registered as `tll_utils`, so that `keras.saving.load_model` finds them in safe mode. Those that
compute compute in float32, whatever the policy: what a lower precision rounds off, a comparison of
nearly equal images needs. Unit length is Keras's own `keras.layers.UnitNormalization`; mirrored
images and stacked tensors are `keras.ops.flip` and `keras.ops.stack`.
"""

from tll_utils.layers.branches import (
    Branches,
    CandidateScores,
    PairDifference,
    PairDistance,
)
from tll_utils.layers.closed_form import SignedRoot, Standardise, Whitening
from tll_utils.layers.faces import AlignFaces, FindFaces
from tll_utils.layers.images import CellPooling, OrientedGradients, Resize
from tll_utils.layers.response import LocalResponseNormalization
