"""The convolutional autoencoder that draws one image of a pair from the other (report 002)."""

import keras
from keras import layers

REPORT = {"filters": (32, 32, 32), "decoder_filters": 16}


def autoencoder(
    input_shape, *, filters=(32, 32, 32), decoder_filters=16, leaky_slope=0.3, name="autoencoder"
):
    """Builds encoder and decoder as one model.

    Args:
        input_shape: `(height, width, channels)`; each side divisible by 2 per encoder layer.
            Pixels in [0, 255], scaled inside.
        filters: Tuple of int, filters of each 3×3 convolution; each is followed by a pooling.
        decoder_filters: Int, filters of each 3×3 transposed convolution of stride 2.
        leaky_slope: Float, slope of LeakyReLU below 0. 0 is the plain ReLU. Defaults to `0.3`,
            as in Keras when the report was written.

    Returns:
        Model `(batch, h, w, c)` in [0, 255] → `(batch, h, w, c)` in [0, 1]; `encoder_of` gives
        its first half.

    Raises:
        ValueError: If a side cannot be halved that often.
    """
    height, width, channels = input_shape
    step = 2 ** len(filters)
    if height % step or width % step:
        raise ValueError(f"Sides must be divisible by {step}. Received: {input_shape}")
    images = keras.Input(input_shape, name="image")
    x = layers.Rescaling(1 / 255.0)(images)
    for count in filters:
        x = layers.Conv2D(count, 3, padding="same")(x)
        # The report pools last. LeakyReLU rises everywhere, so the order changes no value, and
        # this way it sees a quarter of them.
        x = layers.MaxPooling2D(2)(x)
        x = layers.LeakyReLU(leaky_slope)(x)
    x = layers.Flatten(name="encoding")(x)
    x = layers.Reshape((height // step, width // step, filters[-1]))(x)
    for _ in filters:
        x = layers.Conv2DTranspose(decoder_filters, 3, strides=2, padding="same")(x)
        x = layers.LeakyReLU(leaky_slope)(x)
    x = layers.Conv2D(channels, 3, padding="same", activation="sigmoid", name="drawing")(x)
    return keras.Model(images, x, name=name)


def encoder_of(model):
    """The first half of `autoencoder`: `(batch, h, w, c)` → flat encoding `(batch, d)`."""
    return keras.Model(model.input, model.get_layer("encoding").output, name="encoder")


def encoding_head(input_shape, *, embedding_dim=128, dropout=0.2):
    """Network on top of encodings for a Siamese net: `(batch, d)` → unit norm `(batch, e)`.

    input_shape: `(d,)`.
    """
    encodings = keras.Input(input_shape, name="encoding")
    x = layers.LayerNormalization()(encodings)
    x = layers.Dropout(dropout)(x)
    x = layers.Dense(embedding_dim)(x)
    return keras.Model(encodings, layers.UnitNormalization()(x), name="encoding_head")
