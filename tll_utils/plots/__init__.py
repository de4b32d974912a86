"""Every figure of the notebooks: takes arrays, loads nothing, returns a `Picture`.

A picture is closed already, so that a notebook shows it once, as a cell's value: as a small image,
with a description made from its data as alternative text. Colors are Okabe and Ito's, with markers
or hatching beside them; type is large enough for a lecture hall; gray images have a fixed range.
"""

from tll_utils.plots.bars import fold_bars, histograms, top_2_bars, top_2_by_group
from tll_utils.plots.curves import lines, loss_and_metric_curves, training_curves
from tll_utils.plots.maps import covariance_scatter, embedding_map, heat_map, scatter
from tll_utils.plots.mosaics import candidate_rows, image_mosaic, pair_grid
from tll_utils.plots.network import network
from tll_utils.plots.picture import Picture
from tll_utils.plots.why import why_match
