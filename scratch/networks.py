"""Networks of fully connected layers.

Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.7, with any number of hidden layers, and with
parameters that stay attached to their layers.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from scratch._base import ieee
from scratch._inputs import Array, read_array, read_scores, read_target
from scratch.activations import Relu, Sigmoid
from scratch.affine import Affine
from scratch.differentiation import central_differences
from scratch.losses import IdentityWithLoss, SoftmaxWithLoss

__all__ = ["MultiLayerNet", "Parameters", "TwoLayerNet"]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.complex128))
HIDDEN: dict[str, type[Relu | Sigmoid]] = {"relu": Relu, "sigmoid": Sigmoid}
OUTPUTS = ("softmax", "sigmoid-squared", "identity-squared")


class Parameters(dict[str, Array]):
    """The parameters of a network by name, in order: W1, b1, W2, b2, …

    Each value is the array that the layer itself reads: `params["W1"] -= step` trains the layer. Assignment
    copies into that array instead of replacing it. Names can be neither added nor removed.
    """

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        """Copy value into the parameter.

        Raises:
            KeyError: no parameter has this name.
            TypeError: a dtype that does not fit (complex into real, float16, object, …).
            ValueError: another shape.
        """
        array = self._checked(name, value)
        if array is not self[name]:  # `params[name] -= step` ends in assigning the array to itself
            np.copyto(self[name], array, casting="same_kind")

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Copy several values into their parameters, all or none. Arguments are those of dict.update."""
        # Copies first: a value may be another parameter that is itself about to change.
        new = {name: self._checked(name, value).copy() for name, value in dict(*args, **kwargs).items()}
        for name, value in new.items():
            self[name] = value

    def __ior__(self, other: Any) -> Parameters:  # type: ignore[override, misc]
        self.update(other)
        return self

    def setdefault(self, name: str, default: Any = None) -> Array:
        """Return the parameter; an unknown name is refused, not added."""
        if name not in self:
            self._unknown(name)
        return self[name]

    def __delitem__(self, name: str) -> NoReturn:
        self._fixed()

    def pop(self, *args: Any) -> NoReturn:
        """Refused: the layer would go on using the array."""
        self._fixed()

    def popitem(self) -> NoReturn:
        """Refused: the layer would go on using the array."""
        self._fixed()

    def clear(self) -> NoReturn:
        """Refused: the layers would go on using the arrays."""
        self._fixed()

    def __reduce__(self) -> tuple[Any, ...]:
        # The default fills an empty instance key by key, which __setitem__ refuses.
        return type(self), (dict(self),)

    def _checked(self, name: str, value: ArrayLike) -> Array:
        if name not in self:
            self._unknown(name)
        old = self[name]
        array = read_array("params", repr(name), value, complex_too=old.dtype.kind == "c")
        if array.shape != old.shape:
            raise ValueError(f"params: {name!r} has shape {old.shape}, but the new value has shape {array.shape}")
        return array

    def _unknown(self, name: str) -> NoReturn:
        raise KeyError(f"params: there is no parameter {name!r}; required: one of {', '.join(self)}")

    def _fixed(self) -> NoReturn:
        raise TypeError("params: a parameter cannot be removed; its layer would go on using the array")


class MultiLayerNet:
    """A network of Affine layers with an activation function after each but the last.

        input → Affine1 → Relu1 → Affine2 → … → AffineK → loss

    Attributes:
        params: `Parameters`, W1 of shape (input_size, hidden_sizes[0]), b1, …; the layers' own arrays.
        layers: the layers in order, by name: Affine1, Relu1 (or Sigmoid1), Affine2, …
        last_layer: the loss.

    >>> net = MultiLayerNet(2, [3], 2, hidden="sigmoid", rng=np.random.default_rng(0))
    >>> list(net.layers), list(net.params)
    (['Affine1', 'Sigmoid1', 'Affine2'], ['W1', 'b1', 'W2', 'b2'])
    >>> x, t = [[1.0, 0.0], [0.0, 1.0]], [0, 1]
    >>> before = net.loss(x, t)
    >>> for name, gradient in net.gradient(x, t).items():
    ...     net.params[name] -= 0.1 * gradient
    >>> bool(net.loss(x, t) < before)
    True
    """

    def __init__(
        self,
        input_size: int,
        hidden_sizes: Sequence[int],
        output_size: int,
        hidden: str = "relu",
        output: str = "softmax",
        weight_init_std: float | str = "lecun",
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        """Draw weights from a normal distribution; biases start at 0.

        Args:
            input_size: features of a sample (a tensor-shaped sample is flattened).
            hidden_sizes: outputs of each hidden Affine layer, any number of them, none included.
            output_size: outputs of the last Affine layer: classes, or values.
            hidden: "relu" or "sigmoid", after every hidden Affine layer.
            output: "softmax" (`SoftmaxWithLoss`); "sigmoid-squared" (a Sigmoid layer, then
                `IdentityWithLoss`: ½ Σ (y − t)²); "identity-squared" (`IdentityWithLoss` alone).
            weight_init_std: standard deviation of the weights: a number, "lecun" (1 / √inputs of the layer)
                or "he" (√(2 / inputs of the layer)).
            rng: where the weights are drawn from; None: a new generator, different at every call.
            dtype: float32, float64, or complex128. A complex network serves numerical differentiation only:
                predict and loss work, gradient and accuracy are refused.

        Raises:
            TypeError: sizes that are not integers, an rng that is no numpy.random.Generator, another dtype.
            ValueError: sizes below 1, unknown names, a negative standard deviation.
        """
        sizes = self._sizes(input_size, hidden_sizes, output_size)
        if hidden not in HIDDEN:
            raise ValueError(f"{self._name}: hidden is {hidden!r}; required: one of {', '.join(HIDDEN)}")
        if output not in OUTPUTS:
            raise ValueError(f"{self._name}: output is {output!r}; required: one of {', '.join(OUTPUTS)}")
        if np.dtype(dtype) not in DTYPES:
            raise TypeError(f"{self._name}: dtype is {np.dtype(dtype)}; required: one of {', '.join(map(str, DTYPES))}")
        if rng is None:
            rng = np.random.default_rng()
        elif not isinstance(rng, np.random.Generator):
            raise TypeError(
                f"{self._name}: rng is of type {type(rng).__name__}; required: a numpy.random.Generator, "
                "for example numpy.random.default_rng(0)"
            )

        arrays: dict[str, Array] = {}
        self.layers: dict[str, Affine | Relu | Sigmoid] = {}
        self._depth = len(sizes) - 1
        for k in range(1, self._depth + 1):
            inputs, outputs = sizes[k - 1], sizes[k]
            # Drawn in float64 whatever the dtype: the float32 network is the float64 one, rounded.
            W = rng.standard_normal((inputs, outputs)) * self._std(weight_init_std, inputs)
            arrays[f"W{k}"] = W.astype(dtype)
            arrays[f"b{k}"] = np.zeros(outputs, dtype=dtype)
            self.layers[f"Affine{k}"] = Affine(arrays[f"W{k}"], arrays[f"b{k}"])
            if k < self._depth:
                activation = HIDDEN[hidden]
                self.layers[f"{activation.__name__}{k}"] = activation()
        if output == "sigmoid-squared":
            self.layers[f"Sigmoid{self._depth}"] = Sigmoid()
        self.last_layer: SoftmaxWithLoss | IdentityWithLoss = (
            SoftmaxWithLoss() if output == "softmax" else IdentityWithLoss()
        )
        self._params = Parameters(arrays)

    @property
    def params(self) -> Parameters:
        """The parameters; assign to `params[name]`, the mapping itself cannot be replaced."""
        return self._params

    @params.setter
    def params(self, params: Parameters) -> None:
        if params is not self._params:  # `net.params |= …` ends in assigning the mapping to itself
            raise AttributeError(
                f"{self._name}: params cannot be replaced, its layers would keep the old arrays; "
                "assign to params[name] or call params.update(...)"
            )

    def predict(self, x: ArrayLike) -> Array:
        """Return what enters last_layer: scores before the softmax, or the values of the output layer.

        Args:
            x: (N, input_size), a batch of tensors to be flattened, or a single sample (input_size,);
                float32, float64, complex128, integers or bool.

        Returns:
            (N, output_size), or (output_size,) for a single sample; np.result_type of x and the parameters.

        Raises:
            TypeError: an unsupported dtype.
            ValueError: another number of features.
        """
        for layer in self.layers.values():
            x = layer.forward(x)
        return np.asarray(x)

    def loss(self, x: ArrayLike, t: ArrayLike) -> Any:
        """Return the loss of predict(x) against t, averaged over the batch; a scalar.

        Args:
            x: as in `predict`, N >= 1.
            t: targets of the shape of predict(x); for "softmax" also integer label indices, one dimension
                fewer.

        Raises:
            TypeError, ValueError: as `predict` and the forward of last_layer.
        """
        return self.last_layer.forward(self.predict(x), t)

    def accuracy(self, x: ArrayLike, t: ArrayLike) -> float:
        """Return the fraction of samples, 0 to 1, whose largest output is at the target's class.

        Args:
            x: as in `predict`, N >= 1.
            t: label indices, or targets of the shape of predict(x), whose largest entry is the class.

        Raises:
            TypeError: an unsupported dtype, a complex128 network.
            ValueError: as `predict`; an empty batch; a form of target other than these two.
        """
        self._refuse_complex("accuracy")
        scores = read_array(self._name, "predict(x)", self.predict(x))  # refuses complex x
        scores = read_scores(self._name, scores, name="predict(x)")
        target, _ = read_target(self._name, t, scores.shape, labels=True)
        return float(np.mean(np.argmax(scores, axis=-1) == np.argmax(target, axis=-1)))

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Return ∂loss/∂p for every parameter p by backpropagation; `loss_and_gradient` without the loss."""
        return self.loss_and_gradient(x, t)[1]

    @ieee
    def loss_and_gradient(self, x: ArrayLike, t: ArrayLike) -> tuple[Any, dict[str, Array]]:
        """Return the loss and ∂loss/∂p for every parameter p by backpropagation: one forward, one backward.

        Args:
            x, t: as in `loss`.

        Returns:
            A new array for each name of params, in the same order and of the parameter's shape;
            np.result_type of x, the parameters and, if they are floating, the targets.

        Raises:
            TypeError, ValueError: as `loss`; TypeError for a complex128 network.
        """
        self._refuse_complex("gradient")
        loss = self.loss(x, t)

        dout = self.last_layer.backward()
        first, *others = self.layers.values()
        for layer in reversed(others):
            dout = layer.backward(dout)
        assert isinstance(first, Affine)
        first.differentiate_parameters(dout)  # nobody asks for the gradient of the data

        gradients: dict[str, Array] = {}
        for k, affine in enumerate(self._affines(), start=1):
            assert affine.dW is not None  # backward has just set both
            assert affine.db is not None
            gradients[f"W{k}"], gradients[f"b{k}"] = affine.dW, affine.db
        return loss, gradients

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike, h: float = 1e-4) -> dict[str, Array]:
        """Return ∂loss/∂p for every parameter p by central differences, element by element.

        It is slow, two losses for every entry, and depends on forward alone: that is its use. It works on a
        float64 copy of the network, so that an interrupt leaves this one as it was.

        Args:
            x, t: as in `loss`.
            h: the step, positive.

        Returns:
            A new array for each name of params, in the same order, of the parameter's shape and dtype.

        Raises:
            TypeError, ValueError: as `loss`; TypeError for a complex128 network; ValueError for h.
        """
        self._refuse_complex("numerical_gradient")
        twin = self._float64_copy()
        gradients: dict[str, Array] = {}
        for name, parameter in twin.params.items():
            gradient = central_differences(lambda: twin.loss(x, t), parameter, h)
            gradients[name] = gradient.astype(self.params[name].dtype)
        return gradients

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _affines(self) -> list[Affine]:
        return [layer for layer in self.layers.values() if isinstance(layer, Affine)]

    def _float64_copy(self) -> MultiLayerNet:
        """Return a copy of the network that shares nothing with it, its parameters in float64."""
        twin = copy.deepcopy(self)
        twin._params = Parameters({name: value.astype(np.float64) for name, value in self.params.items()})
        for k, affine in enumerate(twin._affines(), start=1):
            affine.W, affine.b = twin.params[f"W{k}"], twin.params[f"b{k}"]
        return twin

    def _refuse_complex(self, method: str) -> None:
        if any(parameter.dtype.kind == "c" for parameter in self.params.values()):
            raise TypeError(
                f"{self._name}: {method} of a complex128 network, which serves numerical differentiation "
                "only (predict and loss work); required: a float32 or float64 network"
            )

    def _sizes(self, input_size: int, hidden_sizes: Sequence[int], output_size: int) -> list[int]:
        """Return the sizes from input to output as positive ints, or refuse them."""
        try:
            hidden = list(hidden_sizes)
        except TypeError:
            raise TypeError(
                f"{self._name}: hidden_sizes is {hidden_sizes!r}; required: a sequence of integers, for example (50,)"
            ) from None
        named = [("input_size", input_size)]
        named += [(f"hidden_sizes[{i}]", size) for i, size in enumerate(hidden)]
        named += [("output_size", output_size)]
        sizes = []
        for name, size in named:
            try:
                sizes.append(operator.index(size))
            except TypeError:
                raise TypeError(f"{self._name}: {name} is {size!r}; required: an integer") from None
            if sizes[-1] < 1:
                raise ValueError(f"{self._name}: {name} is {size}; required: at least 1")
        return sizes

    def _std(self, weight_init_std: float | str, inputs: int) -> float:
        """Return the standard deviation of the weights of a layer with so many inputs."""
        if weight_init_std == "lecun":
            return 1 / math.sqrt(inputs)
        if weight_init_std == "he":
            return math.sqrt(2 / inputs)
        if isinstance(weight_init_std, str) or not 0 <= weight_init_std < math.inf:
            raise ValueError(
                f"{self._name}: weight_init_std is {weight_init_std!r}; required: a number >= 0, 'lecun' or 'he'"
            )
        return float(weight_init_std)


class TwoLayerNet(MultiLayerNet):
    """The book's network: Affine1 → Relu1 → Affine2 → softmax and cross-entropy.

    >>> net = TwoLayerNet(784, 50, 10, rng=np.random.default_rng(0))
    >>> sum(parameter.size for parameter in net.params.values())
    39760
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        weight_init_std: float | str = 0.01,
        rng: np.random.Generator | None = None,
        dtype: DTypeLike = np.float64,
    ) -> None:
        """Arguments and what is raised are those of `MultiLayerNet`, with one hidden layer of Relu."""
        super().__init__(
            input_size,
            [hidden_size],
            output_size,
            hidden="relu",
            output="softmax",
            weight_init_std=weight_init_std,
            rng=rng,
            dtype=dtype,
        )
