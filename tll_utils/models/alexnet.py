"""AlexNet as published in 2012, local response normalisation included."""

import keras
from keras import layers, ops


def preprocess_input(images):
    """Turns RGB in [0, 255] into BGR less the ImageNet mean, as the released weights expect."""
    return keras.applications.imagenet_utils.preprocess_input(images, mode="caffe")


@keras.saving.register_keras_serializable(package="tll_utils")
class LocalResponseNormalization(layers.Layer):
    """Divides each channel by the strength of its neighbours, so that the loudest one stands out.

    `b_i = a_i / (bias + alpha · Σ a_j²) ** beta`, over the `depth` channels `j` around `i`.
    Channels beyond the first and the last count as zero.

    Args:
        depth: Odd int, number of neighbouring channels `n`, channel `i` included.
        bias: Float > 0, the `k` of the paper.
        alpha: Float, weight of the summed squares.
        beta: Float, exponent.

    Call arguments:
        inputs: `(..., channels)`.

    Raises:
        ValueError: If `depth` is not a positive odd number.

    Reference:
        Krizhevsky et al., 2012, ImageNet Classification with Deep CNNs, section 3.3.
    """

    def __init__(self, depth=5, *, bias=2.0, alpha=1e-4, beta=0.75, **kwargs):
        super().__init__(**kwargs)
        if depth < 1 or depth % 2 == 0:
            raise ValueError(f"`depth` must be a positive odd number. Received: depth={depth}")
        self.depth = depth
        self.bias = bias
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs):
        channels = inputs.shape[-1]
        reach = self.depth // 2
        padding = [(0, 0)] * (len(inputs.shape) - 1) + [(reach, reach)]
        squares = ops.pad(ops.square(inputs), padding)
        energy = sum(squares[..., shift : shift + channels] for shift in range(self.depth))
        return inputs / (self.bias + self.alpha * energy) ** self.beta

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        own = {"depth": self.depth, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return {**super().get_config(), **own}


def alexnet(*, include_top=True, weights=None, input_shape=(227, 227, 3), classes=1000):
    """Builds AlexNet: five convolutions, three of them in two groups, and three dense layers.

    The feature map of each stage is called `relu1` … `relu5`, and `pool5` is the last.

    Args:
        include_top: Whether to end in the dense layers and a softmax over `classes`.
        weights: Path of a `.weights.h5` file saved from this model, or None for random weights.
        input_shape: `(height, width, 3)`; the paper's 224 only works out as 227.
        classes: Number of classes of the top.

    Returns:
        A `keras.Model` on preprocessed images `(batch, height, width, 3)`. Without a top it
        returns `pool5`, `(batch, 6, 6, 256)` for the default shape.

    Reference:
        Krizhevsky et al., 2012, ImageNet Classification with Deep CNNs, figure 2.
    """
    inputs = keras.Input(input_shape, name="image")
    x = layers.Conv2D(96, 11, strides=4, activation="relu", name="relu1")(inputs)
    x = LocalResponseNormalization(name="norm1")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    # The two groups are the two GPUs of the paper.
    x = layers.Conv2D(256, 5, padding="same", groups=2, activation="relu", name="relu2")(x)
    x = LocalResponseNormalization(name="norm2")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool2")(x)
    x = layers.Conv2D(384, 3, padding="same", activation="relu", name="relu3")(x)
    x = layers.Conv2D(384, 3, padding="same", groups=2, activation="relu", name="relu4")(x)
    x = layers.Conv2D(256, 3, padding="same", groups=2, activation="relu", name="relu5")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool5")(x)
    if include_top:
        x = layers.Flatten(name="flatten")(x)
        for name in ("fc6", "fc7"):
            x = layers.Dense(4096, activation="relu", name=name)(x)
            x = layers.Dropout(0.5, name=f"{name}_dropout")(x)
        x = layers.Dense(classes, activation="softmax", name="predictions")(x)
    model = keras.Model(inputs, x, name="alexnet")
    if weights is not None:
        model.load_weights(weights)
    return model
