"""A function's text changes with what it does, and with nothing else."""

import functools

import numpy as np
import pytest

from tll_utils import fingerprint


def make(code, **outside):
    """The function `f` of a notebook's cell, with what the cells above it left."""
    exec(code, outside)
    return outside["f"]


def test_the_same_code_has_the_same_text():
    code = "def f(x, k=2):\n    return [x * k for _ in range(3)]"
    assert fingerprint.of_code(make(code)) == fingerprint.of_code(make(code)) != ""


HELPER = "def helper(x):\n    return x {} 1\ndef f(x):\n    return {}"


@pytest.mark.parametrize(
    "one, other",
    [
        (make("def f(x): return x + 1"), make("def f(x): return x - 1")),
        (make("def f(x): return x + 1"), make("def f(x): return x + 2")),
        (make("def f(x, k=1): return x + k"), make("def f(x, k=2): return x + k")),
        (make("def f(x, *, k=1): return x + k"), make("def f(x, *, k=2): return x + k")),
        (make("def f(x): return x + A", A=1), make("def f(x): return x + A", A=2)),
        (make(HELPER.format("+", "helper(x)")), make(HELPER.format("-", "helper(x)"))),
        (
            make(HELPER.format("+", "(lambda y: helper(y))(x)")),
            make(HELPER.format("-", "(lambda y: helper(y))(x)")),
        ),
        tuple(make("def f(x): return x + A", A=np.arange(n)) for n in (2, 3)),
        tuple(make("def f(x): return x + A", A=np.full((1, 2), n)[:, ::-1]) for n in (2, 3)),
        tuple(
            make("def f(x): return x + A", A=np.array([f"2001-01-0{n}"], "datetime64[D]"))
            for n in (2, 3)
        ),
        (functools.partial(max, 1), functools.partial(max, 2)),
        (functools.partial(max, key=1), functools.partial(max, key=2)),
    ],
)
def test_a_change_of_code_constants_defaults_or_helpers_is_seen(one, other):
    assert fingerprint.of_code(one) != fingerprint.of_code(other)


def test_functions_that_call_each_other_come_to_an_end():
    code = "def g(x):\n    return f(x - 1)\ndef f(x):\n    return x and g(x)"
    assert fingerprint.of_code(make(code)) == fingerprint.of_code(make(code))


def test_what_changes_in_use_and_what_belongs_to_libraries_is_left_out():
    code = "def f(x):\n    seen.append(x)\n    return mean(x)"
    texts = {
        fingerprint.of_code(make(code, seen=seen, mean=np.mean)) for seen in ([], [1], {"a": 2})
    }
    assert len(texts) == 1
    assert fingerprint.of_code(np.mean) == fingerprint.of_code(functools.lru_cache) == ""


def test_an_object_is_its_class_and_the_functions_that_it_holds():
    def holder(code, held):
        outside = {}
        exec(f"class Holder:\n    def call(self):\n        return {code}", outside)
        thing = outside["Holder"]()
        thing.held, thing.count = held, np.random.default_rng().random()
        return fingerprint.of_code(thing)

    one = holder("1", lambda x: x)
    assert one == holder("1", lambda x: x)
    assert len({one, holder("2", lambda x: x), holder("1", lambda x: -x)}) == 3


def test_own_files_are_read():
    assert fingerprint.of_own_files(["losses"]) == fingerprint.of_own_files(["losses"])
    assert fingerprint.of_own_files(["losses"]) != fingerprint.of_own_files(["losses", "layers"])
