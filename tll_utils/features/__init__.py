"""Features: what networks and classical descriptors see in an image, stored, combined, transformed.

`embed_dataset` gives `Views`, four arrays that remember how an image becomes one of their rows;
`transforms` fits layers on them; `fronts.build` turns all of it into a model that takes pixels.
"""

from tll_utils.features import (
    backbones,
    descriptors,
    fronts,
    pooling,
    registry,
    transforms,
    weights,
    zoo,
)
from tll_utils.features.embedding import embed, embed_dataset, pixels, standard_keys
from tll_utils.features.encoding import encode
from tll_utils.features.views import Views, join, mean, stack
