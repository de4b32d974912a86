"""A training that was killed ends like an undisturbed one, or starts anew and says why."""

import contextlib
import os

import keras
import numpy as np
import pytest
import toy_training
from toy_training import TRAIN, VALID, VIEWS, Kill, Killed

from tll_utils import files, fingerprint, generators, layers, losses, machine, training
from tll_utils.errors import TrainingError

FEW = TRAIN[:12]


@pytest.fixture(scope="module")
def toy():
    return toy_training.Mined(machine.choose(environ={}, say=lambda text: None))


@pytest.fixture(scope="module")
def whole(toy):
    """What an undisturbed training ends with."""
    found = toy.fit()
    assert toy.mined_in == [1, 3]
    return found


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(training, "SAVE_SECONDS", 0)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def linear_model(loss="mse", *, start=0.5, optimizer=None, **options):
    """y = w x + b on the first feature of the left image."""
    inputs = keras.Input((2, toy_training.DIM))
    dense = keras.layers.Dense(1, kernel_initializer=keras.initializers.Constant(start))
    model = training.Model(inputs, dense(inputs[:, 0]))
    model.compile(optimizer or keras.optimizers.SGD(0.1), loss, **options)
    return model


def few(**options):
    return generators.matches(VIEWS, FEW, **{"batch_size": 6, **options})


# -- killed and started again ----------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, 1e9])
@pytest.mark.parametrize("epoch, moment", [
    (0, "batch"), (1, "batch"), (2, "begin"), (3, "batch"), (3, "end"), (4, "end")
])  # fmt: skip
def test_fit_killed_and_started_again_ends_like_an_undisturbed_one(
    toy, whole, tmp_path, monkeypatch, epoch, moment, seconds
):
    monkeypatch.setattr(training, "SAVE_SECONDS", seconds)
    with pytest.raises(Killed):
        toy.fit(tmp_path, Kill(epoch, moment=moment))
    assert_same(toy.fit(tmp_path), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["training.npz"]


def test_fit_killed_again_and_again_ends_like_an_undisturbed_one(toy, whole, tmp_path, save_always):
    for epoch in (0, 1, 1, 2, 4):
        with pytest.raises(Killed):
            toy.fit(tmp_path, Kill(epoch))
    assert_same(toy.fit(tmp_path), whole)
    assert toy.mined_in == []  # epoch 4 uses what was mined in epoch 3


class Calls(keras.callbacks.Callback):
    """Counts how often Python has a say in an epoch."""

    def on_train_batch_end(self, batch, logs=None):
        self.number += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.number = 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="nothing is gained elsewhere")
def test_fit_takes_steps_together_where_nobody_said_otherwise_and_learns_the_same():
    by_itself, as_told, as_before = (
        linear_model(),
        linear_model(steps_per_execution=5),
        linear_model(),
    )
    as_before.evaluate(VIEWS.left[:2, None].repeat(2, axis=1), np.zeros(2), verbose=0)
    histories = []
    for model, number in ((by_itself, 1), (as_told, 3), (as_before, 12)):
        calls = Calls()
        histories.append(
            training.fit(model, few(batch_size=1), epochs=2, validation=few(), callbacks=[calls])
        )
        assert calls.number == number
    assert histories[0] == histories[1] == histories[2]
    training.fit(linear_model(), few(batch_size=2), epochs=1, callbacks=[calls])
    assert calls.number == 6  # too few to be worth it


def test_fit_gives_the_best_epoch_back_the_first_of_equals(toy, whole, tmp_path):
    assert whole["val_figure"].tolist() == [0.1, 0.5, 0.7, 0.7, 0.6]
    third = toy.fit(epochs=3)
    for name in third:
        if name.startswith("weight"):
            np.testing.assert_array_equal(third[name], whole[name])


def test_fit_loads_what_a_finished_training_left(toy, whole, tmp_path):
    toy.fit(tmp_path)
    before = (tmp_path / "training.npz").stat().st_mtime_ns
    again = toy.fit(tmp_path, Kill(0))
    assert_same(again, whole)
    assert (tmp_path / "training.npz").stat().st_mtime_ns == before


def test_fit_removes_the_draft_of_a_killed_process(toy, whole, tmp_path):
    ours = files.draft_path(tmp_path / "training.npz")
    nobody = 2**22 + 1  # no process has a number above 2²²
    draft = ours.with_name(ours.name.replace(f"-{os.getpid()}-", f"-{nobody}-"))
    draft.write_bytes(b"half a fi")
    assert_same(toy.fit(tmp_path), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["training.npz"]


def test_fit_leaves_no_draft_when_the_disk_is_full(toy, tmp_path, monkeypatch, save_always):
    def full(draft, **arrays):
        draft.write_bytes(b"half a fi")
        raise OSError(28, "No space left on device", str(draft))

    monkeypatch.setattr(training.np, "savez", full)
    with pytest.raises(files.TllError, match=r"training\.npz.*No space left"):
        toy.fit(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "no notes"])
def test_fit_starts_anew_from_a_damaged_file(toy, whole, tmp_path, capsys, save_always, damage):
    with pytest.raises(Killed):
        toy.fit(tmp_path, Kill(3))
    path = tmp_path / "training.npz"
    if damage == "no notes":
        np.savez(path, best00000=np.zeros(3))
    else:
        content = {"cut": path.read_bytes()[:-200], "empty": b"", "text": b"Not a file of ours."}
        path.write_bytes(content[damage])
    assert_same(toy.fit(tmp_path), whole)
    said = capsys.readouterr().err
    assert "training.npz: cannot be read" in said and "starts anew" in said


def test_fit_goes_on_with_the_scale_of_a_float16_loss(tmp_path, save_always):
    def fit(directory, kill=None):
        with machine.Machine(precision="mixed_float16").scope():
            adam = keras.optimizers.Adam(0.1)
            scaled = keras.optimizers.LossScaleOptimizer(adam, dynamic_growth_steps=3)
            model = linear_model(optimizer=scaled, steps_per_execution=2)
        training.fit(model, few(), epochs=4, directory=directory, callbacks=[kill or Kill()])
        return [np.array(variable) for variable in (*model.weights, *model.optimizer.variables)]

    expected = fit(None)
    with pytest.raises(Killed):
        fit(tmp_path, Kill(2))
    for found, value in zip(fit(tmp_path), expected, strict=True):
        np.testing.assert_array_equal(found, value)


# -- another training than before ------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path, capsys):
    """`trained(**changes)` says which part of the training made it start anew, if any."""

    def fit(*, start=0.5, rate=0.1, loss="mse", rows=FEW, seed=0, valid=VALID, patience=None,
            callbacks=(), model=None):  # fmt: skip
        training.fit(
            model or linear_model(loss, start=start, optimizer=keras.optimizers.SGD(rate)),
            generators.matches(VIEWS, rows, batch_size=6, seed=seed),
            validation=generators.matches(VIEWS, valid, batch_size=6, fixed=True),
            epochs=1,
            patience=patience,
            directory=tmp_path,
            callbacks=callbacks,
        )
        return capsys.readouterr().err

    return fit


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"start": 0.4}, "the network, its initial weights changed"),
        ({"rate": 0.2}, "loss or optimizer changed"),
        ({"loss": "mae"}, "loss or optimizer changed"),
        ({"rows": TRAIN[:18]}, "the examples changed"),
        ({"seed": 1}, "the examples changed"),
        ({"valid": VALID[:12]}, "the validation examples changed"),
        ({"patience": 3}, "epochs, monitor or patience changed"),
        ({"callbacks": [keras.callbacks.LearningRateScheduler(lambda e: 0.1)]}, "the callbacks"),
    ],
)
def test_fit_starts_anew_and_names_what_changed(trained, tmp_path, changes, named):
    assert trained() == ""
    assert f"{tmp_path.name}: trained anew, because {named}" in trained(**changes)
    assert trained(**changes) == ""


def test_fit_sees_changed_code_and_constants_of_a_notebook(trained):
    def scheduler(code, **outside):
        found = {**outside}
        exec(f"def rate(epoch):\n    {code}", found)
        return [keras.callbacks.LearningRateScheduler(found["rate"])]

    def own_loss(code):
        found = {"ops": keras.ops}
        exec(f"def own(y, p):\n    return {code}", found)
        return found["own"]

    trained(callbacks=scheduler("return RATE", RATE=0.1))
    assert trained(callbacks=scheduler("return RATE", RATE=0.1)) == ""
    assert "the callbacks changed" in trained(callbacks=scheduler("return RATE", RATE=0.2))
    assert "the callbacks changed" in trained(callbacks=scheduler("return RATE + 0", RATE=0.2))
    trained(loss=own_loss("ops.abs(p)[:, 0]"))
    assert trained(loss=own_loss("ops.abs(p)[:, 0]")) == ""
    assert "loss or optimizer changed" in trained(loss=own_loss("ops.square(p)[:, 0]"))


def test_fit_sees_the_code_of_a_metric_of_ones_own(trained):
    def model(code):
        found = {"ops": keras.ops}
        exec(f"def gap(y, p):\n    return {code}", found)
        return linear_model(metrics=[found["gap"]])

    trained(model=model("ops.abs(p)"))
    assert trained(model=model("ops.abs(p)")) == ""
    assert "loss or optimizer changed" in trained(model=model("ops.square(p)"))


def test_fit_takes_a_model_of_ones_own_and_sees_its_code(trained):
    def own(code):
        found = {"Model": keras.Model, "keras": keras}
        exec(
            "class Own(Model):\n"
            "    def __init__(self, dense):\n"
            "        super().__init__()\n"
            "        self.dense = dense\n"
            "    def call(self, x):\n"
            f"        return {code}",
            {"__name__": "a_notebook", **found},
            found,
        )
        ones = keras.initializers.Ones()
        model = found["Own"](keras.layers.Dense(1, kernel_initializer=ones))
        model.compile("sgd", "mse")
        return model

    trained(model=own("self.dense(x[:, 0])"))
    assert trained(model=own("self.dense(x[:, 0])")) == ""
    assert "the network changed" in trained(model=own("self.dense(x[:, 1])"))


def test_fit_takes_layers_of_other_numbers_for_the_same(trained):
    trained()
    for _ in range(3):
        linear_model()  # Keras counts on: dense_1, dense_2, …
    assert trained() == ""


def test_fit_of_other_versions_starts_anew(trained, tmp_path, monkeypatch):
    trained()
    monkeypatch.setattr(keras, "__version__", "4.0")
    assert "because Keras changed" in trained()
    monkeypatch.setattr(fingerprint, "of_own_files", lambda names: "edited")
    assert "because the package changed" in trained()


# -- in phases -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compile_again", [True, False])
def test_a_second_phase_ends_where_it_would_have_if_the_first_is_only_loaded(
    tmp_path, capsys, compile_again
):
    def trained(until):
        inputs = keras.Input((2, toy_training.DIM))
        dropped = keras.layers.Dropout(0.5, seed=3)(inputs[:, 0])
        model = training.Model(inputs, toy_training.dense(1, seed=1)(dropped))
        model.compile(keras.optimizers.Adam(0.1), "mse")
        training.fit(model, few(), epochs=2, directory=tmp_path / "one")
        if until == "two":
            if compile_again:
                model.compile(keras.optimizers.Adam(0.01), "mse")
            training.fit(model, few(), epochs=2, directory=tmp_path / "two")
        return model.get_weights()

    trained("one")
    after = trained("two")
    (tmp_path / "one" / "training.npz").unlink()
    undisturbed = trained("two")  # both phases in one process; the second is found as it was
    assert capsys.readouterr().err == ""
    for found, expected in zip(after, undisturbed, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_fit_leaves_the_average_of_the_weights_that_keras_leaves(tmp_path):
    models = []
    for directory in (tmp_path, tmp_path, None):
        optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9)
        models.append(linear_model(optimizer=optimizer))
        if directory is None:
            models[-1].fit(few(batch_size=12), epochs=3, shuffle=False, verbose=0)
        else:
            training.fit(models[-1], few(batch_size=12), epochs=3, directory=directory)
    fitted, loaded, by_keras = (model.get_weights()[0] for model in models)
    np.testing.assert_allclose(fitted, by_keras, rtol=1e-5)
    np.testing.assert_array_equal(loaded, fitted)
    averaged = linear_model(optimizer=keras.optimizers.SGD(0.1, use_ema=True))
    with pytest.raises(ValueError, match="use_ema=True .* Received: monitor='val_loss'"):
        training.fit(averaged, few(), epochs=1, validation=few())


class StopAfter(keras.callbacks.Callback):
    """Ends a training as a callback of Keras would."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 1


def test_a_training_that_another_callback_stopped_stays_stopped(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(training._State, "finish", lambda self: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            training.fit(
                linear_model(), few(), epochs=5, directory=tmp_path, callbacks=[StopAfter()]
            )
    again = training.fit(
        linear_model(), few(), epochs=5, directory=tmp_path, callbacks=[StopAfter()]
    )
    assert len(again["loss"]) == 2


def test_fit_says_that_a_counting_callback_of_keras_counts_anew(tmp_path, capsys, save_always):
    for kill, said in ((Kill(1), ""), (Kill(), "EarlyStopping counts from here on")):
        callbacks = [keras.callbacks.EarlyStopping("loss", patience=9), kill]
        with contextlib.suppress(Killed):
            training.fit(linear_model(), few(), epochs=3, directory=tmp_path, callbacks=callbacks)
        assert said in capsys.readouterr().err


# -- one process, by hand --------------------------------------------------------------------------


def test_fit_takes_one_step_as_by_hand():
    # All rows in one batch: w ← w − lr · 2 · mean(x (wx + b)), b likewise; the targets are 0.
    model = linear_model()
    history = training.fit(model, few(batch_size=12), epochs=1)
    x = VIEWS.left[FEW].astype(float)
    error = 0.5 * x.sum(axis=1)
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(
        kernel[:, 0], 0.5 - 0.2 * (x * error[:, None]).mean(axis=0), rtol=1e-5
    )
    assert bias[0] == pytest.approx(-0.2 * error.mean(), rel=1e-4)
    assert history == {"loss": [pytest.approx((error**2).mean(), rel=1e-5)]}


def test_fit_keeps_the_last_epoch_without_anything_to_choose_by():
    kept, last = linear_model(), linear_model()
    training.fit(kept, few(), epochs=3)
    for epoch in range(3):
        batches = few()
        batches.epoch = epoch
        for index in range(batches.num_batches):
            last.train_on_batch(*batches[index])
    np.testing.assert_allclose(kept.get_weights()[0], last.get_weights()[0], rtol=1e-6)


@pytest.mark.parametrize("monitor, best", [("val_loss", 1), ("val_top_2", 2)])
def test_fit_wants_losses_to_fall_and_all_else_to_rise(monitor, best):
    weights = []

    class Figure(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights.append(self.model.get_weights()[0])
            logs[monitor] = [0.5, 0.1, 0.9][epoch]

    model = linear_model()
    training.fit(model, few(), epochs=3, monitor=monitor, callbacks=[Figure()])
    np.testing.assert_array_equal(model.get_weights()[0], weights[best])


def test_measure_adds_figures_that_can_be_monitored():
    model = linear_model()
    measure = training.Measure(lambda: {"val_w": -model.get_weights()[0].sum()})
    history = training.fit(model, few(), epochs=2, monitor="val_w", callbacks=[measure])
    assert list(history) == ["loss", "val_w"] and len(history["val_w"]) == 2
    assert -model.get_weights()[0].sum() == max(history["val_w"])


def test_figures_need_not_be_measured_in_every_epoch():
    class Sometimes(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch != 1:
                logs["val_top_2"] = [0.5, None, 0.9][epoch]

    history = training.fit(
        linear_model(), few(), epochs=3, monitor="val_top_2", callbacks=[Sometimes()]
    )
    np.testing.assert_array_equal(history["val_top_2"], [0.5, np.nan, 0.9])


def test_fit_refuses_what_cannot_go_on(tmp_path):
    for options in ({"patience": 3}, {"patience": 0, "validation": few()}):
        with pytest.raises(ValueError, match="`patience` is a number of epochs, at least 1"):
            training.fit(linear_model(), few(), epochs=1, **options)
    with pytest.raises(TrainingError, match=r"logged figures, loss\. Received: monitor='val_los'"):
        training.fit(linear_model(), few(), epochs=1, monitor="val_los")
    steep = linear_model(optimizer=keras.optimizers.SGD(1e20))
    with pytest.raises(TrainingError, match=r"loss of epoch \d is (inf|nan)\. Lower the learning"):
        training.fit(steep, few(), epochs=5, directory=tmp_path)
    assert not list(tmp_path.iterdir())  # nothing that could be taken for a result
    with pytest.raises(ValueError, match="Received: epochs=0"):
        training.fit(linear_model(), few(), epochs=0)


def test_model_is_saved_and_loaded_as_one_of_ours(tmp_path):
    inputs = keras.Input((2, toy_training.DIM))
    model = training.Model(inputs, layers.PairDistance()(inputs))
    model.compile("adam", losses.ContrastiveLoss())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded, training.Model)
    x = few()[0][0]
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a strategy of tf.distribute")
def test_a_strategy_of_one_device_trains_as_none():
    import tensorflow as tf

    alone = training.Machine(tf.distribute.MirroredStrategy(["CPU:0"]), 1)
    found, expected = (
        toy_training.softmax(machine)
        for machine in (alone, training.choose(environ={}, say=lambda text: None))
    )
    np.testing.assert_allclose(found["loss"], expected["loss"], atol=1e-5)
