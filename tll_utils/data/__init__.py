"""Finds, reads and validates the image pairs and candidate lists of Totally Looks Like.

`load` checks everything but the pixels, in milliseconds; `inspect` decodes every image.
"""

from tll_utils.data import sample
from tll_utils.data.course import read_truth
from tll_utils.data.dataset import MIN_PAIRS, SIDES, Dataset
from tll_utils.data.duplicates import near_duplicate_groups
from tll_utils.data.loading import find, load
from tll_utils.data.report import Report, inspect
from tll_utils.data.splits import assign_folds, draw_candidates, hold_out
from tll_utils.data.tables import read_table
from tll_utils.errors import DataError
