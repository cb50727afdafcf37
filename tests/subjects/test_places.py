"""Places: names, attributes and entries that a user writes and the tool reads and writes."""

import numpy as np
import pytest

from oracle.subjects.conventions.places import read, require_place, write


class Held:
    def __init__(self):
        self.W = np.ones(2)
        self.grads = {"W": 1, 0: 2}


@pytest.mark.parametrize(
    ("place", "value"), [("self.grads['W']", 1), ("self.grads[0]", 2), ("returned[1]", 7)], ids=str
)
def test_what_lies_at_a_place_is_read(place, value):
    assert read(place, {"self": Held(), "returned": (6, 7)}) == value


def test_what_is_written_is_read_again():
    held = Held()
    for place in ("self.W", "self.grads['W']", "self.new"):
        write(place, {"self": held}, 5)
        assert read(place, {"self": held}) == 5


def test_a_bare_name_is_no_place_to_write_to():
    with pytest.raises(ValueError, match="W: an attribute or an entry is required"):
        write("W", {"W": 1}, 2)


def test_a_call_is_no_place_to_read():
    with pytest.raises(ValueError, match=r"self.f\(\) is no place"):
        read("self.f()", {"self": Held()})


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("dLdW", "self.dLdW"),
        ("grads['W']", "self.grads['W']"),
        ("self.dW", "self.dW"),
        ("returned[1]", "returned[1]"),
        ("module.W", "module.W"),
    ],
)
def test_a_bare_name_is_an_attribute_of_self(written, place):
    assert require_place(written) == place


@pytest.mark.parametrize("written", ["1", "f()", "dW +", "grads[name]", "a b", ""], ids=repr)
def test_what_is_no_place_is_refused_with_an_example(written):
    with pytest.raises(ValueError, match=r"is no place; a name such as dLdW, grads\['W'\] or returned\[1\]"):
        require_place(written)
