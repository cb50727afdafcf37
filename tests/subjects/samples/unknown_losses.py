"""Losses of names that nobody knows: a number of an input and targets, and the gradient of the input."""

import numpy as np


class HuberLoss:
    def __init__(self, delta=1.0):
        self.delta = delta

    def forward(self, y, t):
        self.d = y - t
        a = np.abs(self.d)
        self.n = len(y)
        return np.sum(np.where(a <= self.delta, 0.5 * a**2, self.delta * (a - 0.5 * self.delta))) / self.n

    def backward(self):
        return np.clip(self.d, -self.delta, self.delta) / self.n


class HingeLoss:
    def forward(self, x, y):
        n = x.shape[0]
        correct = x[np.arange(n), y]
        self.margins = np.maximum(0, x - correct[:, None] + 1.0)
        self.margins[np.arange(n), y] = 0
        self.y = y
        return self.margins.sum() / n

    def backward(self, dout=1):
        dx = (self.margins > 0).astype(float)
        n = len(self.y)
        dx[np.arange(n), self.y] -= dx.sum(axis=1)
        return dx / n * dout


class L1Loss:
    def forward(self, prediction, target):
        self.sign = np.sign(prediction - target)
        return np.mean(np.abs(prediction - target))

    def backward(self, dout=1.0):
        return dout * self.sign / self.sign.size


class EpsilonInsensitive:
    """Targets first, and the width of the tube given."""

    def __init__(self, margin):
        self.margin = margin

    def forward(self, y_true, y_pred):
        self.d = y_pred - y_true
        return np.maximum(np.abs(self.d) - self.margin, 0).sum() / len(y_true)

    def backward(self):
        return np.sign(self.d) * (np.abs(self.d) > self.margin) / len(self.d)


class PinballLoss:
    def __init__(self, q):
        self.q = q

    def __call__(self, pred, true):
        self.d = true - pred
        return np.mean(np.maximum(self.q * self.d, (self.q - 1) * self.d))

    def backward(self):
        return np.where(self.d > 0, -self.q, 1 - self.q) / self.d.size


class LogCosh:
    """Nothing in its name or arguments says that it is a loss."""

    def forward(self, a, b):
        self.d = a - b
        return float(np.mean(np.log(np.cosh(self.d))))

    def backward(self):
        return np.tanh(self.d) / self.d.size


class SoftmaxFocal:
    """Right for one-hot rows alone: with other targets its backward is no derivative."""

    def forward(self, x, t):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self.p, self.t = e / e.sum(axis=1, keepdims=True), t
        self.q = (self.p * t).sum(axis=1, keepdims=True)
        return np.sum(-((1 - self.q) ** 2) * np.log(self.q)) / len(x)

    def backward(self, dout=1):
        q = self.q
        along = 2 * (1 - q) * np.log(q) * q - (1 - q) ** 2
        return dout * along * (self.t - self.p) / len(self.t)


class ClippedEntropy:
    """Of probabilities that are cut off before their logarithm: outside of 0 and 1 its backward is no derivative."""

    def forward(self, p, t):
        self.p, self.t = np.clip(p, 1e-7, 1 - 1e-7), t
        return -np.mean(t * np.log(self.p) + (1 - t) * np.log(1 - self.p))

    def backward(self):
        return (self.p - self.t) / (self.p * (1 - self.p)) / self.t.size


class KLDivergence:
    def forward(self, p, t):
        self.p, self.t = p, t
        return np.sum(t * np.log(t / p)) / len(p)

    def backward(self):
        return -self.t / self.p / len(self.p)


class TimeSoftmaxWithMask:
    def forward(self, xs, ts):
        N, T, V = xs.shape
        x, t = xs.reshape(N * T, V), ts.reshape(N * T)
        e = np.exp(x - x.max(axis=1, keepdims=True))
        y = e / e.sum(axis=1, keepdims=True)
        self.cache = (y, t, (N, T, V))
        return -np.sum(np.log(y[np.arange(N * T), t])) / (N * T)

    def backward(self, dout=1):
        y, t, (N, T, V) = self.cache
        dx = y.copy()
        dx[np.arange(N * T), t] -= 1
        return (dx * dout / (N * T)).reshape(N, T, V)


class FourthPower:
    """It gives the gradient of its targets as well."""

    def forward(self, y, t):
        self.d = y - t
        return np.sum(self.d**4) / len(y)

    def backward(self, dout=1):
        dy = dout * 4 * self.d**3 / len(self.d)
        return dy, -dy


def svm_loss(x, y):
    n = x.shape[0]
    c = x[np.arange(n), y]
    m = np.maximum(0, x - c[:, None] + 1.0)
    m[np.arange(n), y] = 0
    loss = m.sum() / n
    dx = (m > 0).astype(float)
    dx[np.arange(n), y] -= (m > 0).sum(axis=1)
    return loss, dx / n


def squared_hinge(y, t):
    return np.mean(np.maximum(0, 1 - y * t) ** 2)


def squared_hinge_grad(y, t):
    return -2 * t * np.maximum(0, 1 - y * t) / y.size
