"""Sizes as (out, in), and W stored (out, in)."""

import numpy as np

rng = np.random.default_rng(0)


class Linear:
    def __init__(self, n_neurons, n_inputs):
        self.W = rng.normal(size=(n_neurons, n_inputs))
        self.b = np.zeros(n_neurons)

    def forward(self, x):
        self.x = x
        return x @ self.W.T + self.b

    def backward(self, dout):
        self.dW = dout.T @ self.x
        self.db = dout.sum(axis=0)
        return dout @ self.W
