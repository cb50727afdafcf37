"""Real handwritten digits to run networks on: scikit-learn's 8x8 digits (offline) and the MNIST files.

Importing this package reads nothing, asks no server, and loads neither scikit-learn nor PyTorch nor pooch.
"""

from oracle.data.digits import Digits, load_digits, one_hot, split_digits
from oracle.data.download import download_mnist
from oracle.data.mnist import load_mnist

__all__ = ["Digits", "download_mnist", "load_digits", "load_mnist", "one_hot", "split_digits"]
