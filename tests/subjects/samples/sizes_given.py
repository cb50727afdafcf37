"""A class that draws its own weights from (in, out)."""

import numpy as np


class FullyConnected:
    def __init__(self, input_size, output_size):
        self.weights = np.random.randn(input_size, output_size) * np.sqrt(2.0 / input_size)
        self.bias = np.zeros((1, output_size))

    def forward(self, inputs):
        self.inputs = inputs
        return inputs @ self.weights + self.bias

    def backward(self, grad_output):
        self.dweights = self.inputs.T @ grad_output
        self.dbias = grad_output.sum(axis=0, keepdims=True)
        return grad_output @ self.weights.T
