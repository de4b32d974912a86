"""Networks as boxes and arrows."""

import keras
import pytest

from tll_utils import plots


def texts(picture):
    return [text.get_text().strip() for text in picture.figure.axes[0].texts]


def encoder():
    return keras.Sequential(
        [keras.Input((12, 10, 3)), keras.layers.Flatten(), keras.layers.Dense(4)], name="encoder"
    )


def siamese(shared):
    left, right = keras.Input((12, 10, 3), name="left"), keras.Input((12, 10, 3), name="right")
    both = keras.layers.Concatenate(name="both")([shared(left), shared(right)])
    return keras.Model([left, right], keras.layers.Dense(1, name="score")(both), name="siamese")


def test_network_draws_a_shared_encoder_once_per_branch():
    picture = plots.network(siamese(encoder()))
    assert texts(picture).count("encoder · Sequential") == 2
    assert "same\nweights" in texts(picture)
    assert picture.figure.get_suptitle() == "siamese: 1,453 weights, encoder shared"
    assert "score · Dense · 1 · 9 weights ← both" in picture.description
    assert "both · Concatenate · 8 ← encoder and encoder" in picture.description


def test_network_names_shapes_and_what_is_frozen():
    shared = encoder()
    shared.trainable = False
    picture = plots.network(siamese(shared))
    assert "12 × 10 × 3" in texts(picture)
    assert "4 · 1,444 weights · frozen" in texts(picture)
    assert "score · Dense · 1 · 9 weights ←" in picture.description


def test_network_draws_a_chain_of_a_sequential_model():
    picture = plots.network(encoder())
    assert "flatten" in picture.description and "Dense · 4 · 1,444 weights" in picture.description
    assert len([text for text in texts(picture) if "·" in text and "weights" in text]) == 1


def test_network_shows_a_wrapped_network_as_run_for_each_image():
    pair = keras.Input((2, 12, 10, 3), name="pair")
    model = keras.Model(pair, keras.layers.TimeDistributed(encoder())(pair), name="pairs")
    picture = plots.network(model)
    assert picture.figure.get_suptitle().endswith("encoder shared")
    assert "Dense 4" in texts(picture)


def test_network_shows_a_way_around_layers():
    start = keras.Input((4,), name="start")
    added = keras.layers.Add(name="sum")([start, keras.layers.Dense(4, name="inner")(start)])
    picture = plots.network(keras.Model(start, added, name="residual"))
    assert "sum · Add · 4 ← start and inner" in picture.description


def test_network_shows_the_shape_that_an_operation_gives():
    start = keras.Input((4,), name="start")
    stack = keras.ops.stack([start, keras.layers.Dense(4, name="inner")(start)], axis=1)
    picture = plots.network(keras.Model(start, keras.layers.Flatten()(stack)))
    assert "Stack · 2 × 4 ← start and inner" in picture.description


def test_network_refuses_a_model_without_a_graph():
    class Free(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match=r"keras.Sequential or keras.Model\(inputs, outputs\)"):
        plots.network(Free(name="free"))


def test_network_type_is_large_and_stays_in_its_box():
    picture = plots.network(siamese(encoder()))
    assert picture.data
    drawn = [text for text in picture.figure.axes[0].texts if text.get_text()]
    assert min(text.get_fontsize() for text in drawn) >= 12
