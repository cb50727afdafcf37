"""Networks with gradient(x, t): one made of layers that share the parameter arrays, one written out."""

from collections import OrderedDict

import numpy as np


class Relu:
    def forward(self, x):
        self.mask = x <= 0
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout):
        dx = dout.copy()
        dx[self.mask] = 0
        return dx


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b

    def forward(self, x):
        self.shape = x.shape
        self.x = x.reshape(len(x), -1)
        return self.x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.shape)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def as_rows(t, classes):
    return np.eye(classes)[t] if t.ndim == 1 else t


class SoftmaxWithLoss:
    def forward(self, x, t):
        self.x, self.t = x, as_rows(t, x.shape[1])
        shifted = x - x.max(axis=1, keepdims=True)
        return np.sum(self.t * (np.log(np.exp(shifted).sum(axis=1, keepdims=True)) - shifted)) / len(x)

    def backward(self, dout=1):
        return dout * (softmax(self.x) * self.t.sum(axis=1, keepdims=True) - self.t) / len(self.t)


class TwoLayerNet:
    def __init__(self, input_size, hidden_size, output_size, weight_init_std=0.01):
        self.params = {}
        self.params["W1"] = weight_init_std * np.random.randn(input_size, hidden_size)
        self.params["b1"] = np.zeros(hidden_size)
        self.params["W2"] = weight_init_std * np.random.randn(hidden_size, output_size)
        self.params["b2"] = np.zeros(output_size)
        self.layers = OrderedDict()
        self.layers["Affine1"] = Affine(self.params["W1"], self.params["b1"])
        self.layers["Relu1"] = Relu()
        self.layers["Affine2"] = Affine(self.params["W2"], self.params["b2"])
        self.lastLayer = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        return self.lastLayer.forward(self.predict(x), t)

    def accuracy(self, x, t):
        labels = t.argmax(axis=1) if t.ndim != 1 else t
        return np.mean(self.predict(x).argmax(axis=1) == labels)

    def gradient(self, x, t):
        self.loss(x, t)
        dout = self.lastLayer.backward(1)
        for layer in reversed(list(self.layers.values())):
            dout = layer.backward(dout)
        return {
            "W1": self.layers["Affine1"].dW,
            "b1": self.layers["Affine1"].db,
            "W2": self.layers["Affine2"].dW,
            "b2": self.layers["Affine2"].db,
        }


class NeuralNetwork:
    def __init__(self, input_size, hidden_size, output_size):
        self.W1 = np.random.randn(input_size, hidden_size)
        self.b1 = np.zeros(hidden_size)
        self.W2 = np.random.randn(hidden_size, output_size)
        self.b2 = np.zeros(output_size)

    def predict(self, x):
        self.z1 = 1 / (1 + np.exp(-(x @ self.W1 + self.b1)))
        return softmax(self.z1 @ self.W2 + self.b2)

    def loss(self, x, t):
        y = self.predict(x)
        return -np.sum(as_rows(t, y.shape[1]) * np.log(y)) / len(x)

    def gradient(self, x, t):
        y = self.predict(x)
        dy = (y - as_rows(t, y.shape[1])) / len(x)
        dz1 = dy @ self.W2.T * self.z1 * (1 - self.z1)
        return {"dW1": x.T @ dz1, "db1": dz1.sum(axis=0), "dW2": self.z1.T @ dy, "db2": dy.sum(axis=0)}
