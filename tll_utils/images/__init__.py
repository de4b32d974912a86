"""Image files to pixels, grayscale, the augmentation of training batches, and backgrounds.

Images are RGB in [0, 255] wherever they pass from one function to another. NumPy, OpenCV and
Pillow do the work; no deep learning framework is loaded.
"""

from tll_utils.images.augment import augmenter, rand_augment
from tll_utils.images.background import (
    background_remover,
    remove_background,
    without_background,
)
from tll_utils.images.decode import (
    IMAGE_FORMATS,
    LUMA,
    MAX_PIXELS,
    Cut,
    decode,
    grayscale,
    load_all,
    read_image,
    read_rgb,
    resize,
    shrink_onto_white,
    stream,
)
from tll_utils.images.faces import (
    DETECTOR,
    NUM_VALUES,
    TIGHT,
    TIGHTER,
    align_face,
    faces_of,
    find_faces,
)
