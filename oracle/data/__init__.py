"""Real handwritten digits to run networks on: scikit-learn's 8x8 digits (offline) and the MNIST files.

Importing this package reads nothing and loads neither scikit-learn nor PyTorch.
"""

from oracle.data.digits import Digits, load_digits, one_hot
from oracle.data.mnist import load_mnist

__all__ = ["Digits", "load_digits", "load_mnist", "one_hot"]
