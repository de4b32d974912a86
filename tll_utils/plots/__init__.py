"""Every figure of the notebooks: takes arrays, loads nothing, returns a `Picture`.

A picture is closed already, so that a notebook shows it once, as a cell's value: as a small image,
with a description made from its data as alternative text. Colors are Okabe and Ito's, with markers
or hatching beside them; type is large enough for a lecture hall; gray images have a fixed range.
"""

from tll_utils.plots.bars import (
    histograms,
    tap_shares,
    top_2_bars,
    top_2_by_group,
    top_2_by_layer,
    weights,
)
from tll_utils.plots.curves import (
    loss_and_metric_curves,
    loss_curve_over_distance,
    rank_by_scale,
    training_curves,
)
from tll_utils.plots.maps import (
    covariance_scatter,
    embedding_map,
    heat_map,
    likeness_by_depth,
    rank_changes,
    scatter,
)
from tll_utils.plots.mosaics import (
    candidate_row,
    candidate_rows,
    filters,
    image_mosaic,
    pair_grid,
    swatches,
)
from tll_utils.plots.network import network
from tll_utils.plots.picture import Picture
from tll_utils.plots.why import descriptor_pictures, hubs, why_match

__all__ = [
    "Picture",
    "candidate_row",
    "candidate_rows",
    "covariance_scatter",
    "descriptor_pictures",
    "embedding_map",
    "filters",
    "heat_map",
    "histograms",
    "hubs",
    "image_mosaic",
    "likeness_by_depth",
    "loss_and_metric_curves",
    "loss_curve_over_distance",
    "network",
    "pair_grid",
    "rank_by_scale",
    "rank_changes",
    "scatter",
    "swatches",
    "tap_shares",
    "top_2_bars",
    "top_2_by_group",
    "top_2_by_layer",
    "training_curves",
    "weights",
    "why_match",
]
