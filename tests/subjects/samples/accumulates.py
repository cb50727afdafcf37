"""Gradients accumulate by design, and zero_grad() starts anew."""

import numpy as np


class Linear:
    def __init__(self, in_features, out_features):
        self.W = np.random.randn(in_features, out_features)
        self.b = np.random.randn(out_features)
        self.zero_grad()

    def zero_grad(self):
        self.W_grad = np.zeros_like(self.W)
        self.b_grad = np.zeros_like(self.b)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.W_grad += self.x.T @ dout
        self.b_grad += dout.sum(axis=0)
        return dout @ self.W.T
