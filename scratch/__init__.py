"""Neural-network layers from scratch: NumPy and the standard library only.

Every layer has `forward(x) -> y` and `backward(dout) -> dx`, where dout is the upstream gradient ∂L/∂y. What
holds for all of them:

- float32 stays float32 and float64 stays float64; integers and bool become float64; complex128 is accepted by
  forward alone, for numerical differentiation; any other dtype is a TypeError. Mixed dtypes follow
  np.result_type; a Python number never changes a dtype.
- Nothing that the caller owns is modified, and nothing returned shares memory with an input or a cache.
- NaN and infinity pass through as IEEE 754 says, without warnings.
- Wrong shapes are a ValueError, backward before forward is a RuntimeError.
"""

from scratch.activations import Relu, Sigmoid
from scratch.affine import Affine
from scratch.differentiation import numerical_gradient
from scratch.graph import AddLayer, ExpLayer, MulLayer, ReciprocalLayer
from scratch.losses import IdentityWithLoss, SigmoidWithLoss, SoftmaxWithLoss, cross_entropy_error, softmax
from scratch.networks import MultiLayerNet, Parameters, TwoLayerNet
from scratch.training import SGD, Batches, History, Step, Trainer

__all__ = [
    "SGD",
    "AddLayer",
    "Affine",
    "Batches",
    "ExpLayer",
    "History",
    "IdentityWithLoss",
    "MulLayer",
    "MultiLayerNet",
    "Parameters",
    "ReciprocalLayer",
    "Relu",
    "Sigmoid",
    "SigmoidWithLoss",
    "SoftmaxWithLoss",
    "Step",
    "Trainer",
    "TwoLayerNet",
    "cross_entropy_error",
    "numerical_gradient",
    "softmax",
]
