"""Parameters and gradients in dictionaries."""

import numpy as np


class Dense:
    def __init__(self, n_in, n_out):
        self.params = {"W": np.random.randn(n_in, n_out) * 0.01, "b": np.zeros(n_out)}
        self.gradients = {}

    def forward(self, X):
        self.X = X
        return X @ self.params["W"] + self.params["b"]

    def backward(self, dY):
        self.gradients["W"] = self.X.T @ dY
        self.gradients["b"] = dY.sum(axis=0)
        return dY @ self.params["W"].T
