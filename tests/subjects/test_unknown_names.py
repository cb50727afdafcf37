"""Layers of a name that nobody knows: named, and checked against their own forward."""

import textwrap

import pytest

LAYER = """
    import numpy as np

    class Mystery:
        def forward(self, x):
            raise RuntimeError("out of order")

        def backward(self, dout):
            return dout

    class Relu:
        def forward(self, x):
            self.mask = x > 0
            return x * self.mask

        def backward(self, dout):
            return dout * self.mask
    """


def test_layer_that_was_not_checked_is_named_in_the_output(checked, tmp_path):
    status, subjects, printed = checked(LAYER, "--markdown", str(tmp_path / "said.md"))
    assert (status, subjects.keys()) == (0, {"Relu"})
    for said in (printed.out, (tmp_path / "said.md").read_text(encoding="utf-8")):
        assert "Mystery: no layer is known by this name" in said


@pytest.mark.parametrize(
    "source",
    [
        "class Layer:\n    def forward(self, x):\n        raise NotImplementedError\n\n    def backward(self, dout):\n"
        "        raise NotImplementedError('in a subclass')\n",
        'class Layer:\n    def forward(self, x):\n        """y"""\n\n    def backward(self, dout):\n        pass\n',
        "class Trainer:\n    def train(self):\n        return 1\n\n    def gradient(self, x):\n        return x\n",
        "class SGD:\n    def update(self, params, grads):\n        return 1\n",
        "class Net:\n    def loss(self, x, t):\n        return 1\n\n    def gradient(self, x, t):\n        return 1\n",
        "def numerical_gradient(f, x):\n    return x\n",
    ],
    ids=["abstract", "empty", "trainer", "optimiser", "network", "helper"],
)
def test_what_is_no_layer_is_not_mentioned(checked, source):
    relu = textwrap.dedent(LAYER).partition("class Relu:")[2]
    _, subjects, printed = checked(f"import numpy as np\n\n{source}\nclass Relu:{relu}")
    assert subjects.keys() == {"Relu"}
    assert "Not checked" not in printed.out
