"""Layers with several inputs: cells of recurrent networks, nodes of a graph, products and attention."""

import numpy as np


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


class RNN:
    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)]
        self.cache = None

    def forward(self, x, h_prev):
        Wx, Wh, b = self.params
        t = np.dot(h_prev, Wh) + np.dot(x, Wx) + b
        h_next = np.tanh(t)
        self.cache = (x, h_prev, h_next)
        return h_next

    def backward(self, dh_next):
        Wx, Wh, b = self.params
        x, h_prev, h_next = self.cache
        dt = dh_next * (1 - h_next**2)
        db = np.sum(dt, axis=0)
        dWh = np.dot(h_prev.T, dt)
        dh_prev = np.dot(dt, Wh.T)
        dWx = np.dot(x.T, dt)
        dx = np.dot(dt, Wx.T)
        self.grads[0][...] = dWx
        self.grads[1][...] = dWh
        self.grads[2][...] = db
        return dx, dh_prev


class GRU:
    """The weights of its gates side by side."""

    def __init__(self, Wx, Wh, b):
        self.params = [Wx, Wh, b]
        self.grads = [np.zeros_like(Wx), np.zeros_like(Wh), np.zeros_like(b)]

    def forward(self, x, h_prev):
        Wx, Wh, b = self.params
        H = Wh.shape[0]
        z = sigmoid(x @ Wx[:, :H] + h_prev @ Wh[:, :H] + b[:H])
        r = sigmoid(x @ Wx[:, H : 2 * H] + h_prev @ Wh[:, H : 2 * H] + b[H : 2 * H])
        h_hat = np.tanh(x @ Wx[:, 2 * H :] + (r * h_prev) @ Wh[:, 2 * H :] + b[2 * H :])
        self.cache = (x, h_prev, z, r, h_hat)
        return (1 - z) * h_prev + z * h_hat

    def backward(self, dh_next):
        Wx, Wh, _ = self.params
        H = Wh.shape[0]
        x, h_prev, z, r, h_hat = self.cache
        dh_prev = dh_next * (1 - z)
        dh = dh_next * z * (1 - h_hat**2)
        drh = dh @ Wh[:, 2 * H :].T
        dh_prev = dh_prev + r * drh
        dz = dh_next * (h_hat - h_prev) * z * (1 - z)
        dr = drh * h_prev * r * (1 - r)
        dh_prev = dh_prev + dz @ Wh[:, :H].T + dr @ Wh[:, H : 2 * H].T
        da = np.hstack([dz, dr, dh])
        self.grads[0][...] = x.T @ da
        self.grads[1][...] = np.hstack([h_prev.T @ dz, h_prev.T @ dr, (r * h_prev).T @ dh])
        self.grads[2][...] = da.sum(axis=0)
        return da @ Wx.T, dh_prev


class ElmanCell:
    """A cell that is given its sizes and makes its weights."""

    def __init__(self, input_size, hidden_size):
        self.W_ih = np.random.randn(input_size, hidden_size)
        self.W_hh = np.random.randn(hidden_size, hidden_size)
        self.bias = np.zeros(hidden_size)

    def forward(self, x, h):
        self.x, self.h = x, h
        self.out = np.tanh(x @ self.W_ih + h @ self.W_hh + self.bias)
        return self.out

    def backward(self, dout):
        da = dout * (1 - self.out**2)
        self.dW_ih = self.x.T @ da
        self.dW_hh = self.h.T @ da
        self.dbias = da.sum(axis=0)
        return da @ self.W_ih.T, da @ self.W_hh.T


class MinimalGatedUnit:
    """A weight of the input, W, and one of the state, U, for the gate and for the candidate."""

    def __init__(self, Wf, Uf, bf, Wc, Uc, bc):
        self.Wf, self.Uf, self.bf, self.Wc, self.Uc, self.bc = Wf, Uf, bf, Wc, Uc, bc

    def forward(self, x, h_prev):
        self.x, self.h_prev = x, h_prev
        self.f = sigmoid(x @ self.Wf + h_prev @ self.Uf + self.bf)
        self.c = np.tanh(x @ self.Wc + (self.f * h_prev) @ self.Uc + self.bc)
        return (1 - self.f) * h_prev + self.f * self.c

    def backward(self, dh):
        dc = dh * self.f * (1 - self.c**2)
        gated = dc @ self.Uc.T
        df = (dh * (self.c - self.h_prev) + gated * self.h_prev) * self.f * (1 - self.f)
        self.dWc, self.dUc, self.dbc = self.x.T @ dc, (self.f * self.h_prev).T @ dc, dc.sum(axis=0)
        self.dWf, self.dUf, self.dbf = self.x.T @ df, self.h_prev.T @ df, df.sum(axis=0)
        dx = dc @ self.Wc.T + df @ self.Wf.T
        return dx, dh * (1 - self.f) + gated * self.f + df @ self.Uf.T


class ProductNode:
    def forward(self, x, y):
        self.x, self.y = x, y
        return x * y

    def backward(self, dout):
        return dout * self.y, dout * self.x


class AddMean:
    """A sum with a number for each row of the batch, which is broadcast."""

    def forward(self, x, others):
        self.shape = others.shape
        return x + others.mean(axis=1, keepdims=True)

    def backward(self, dout):
        return dout, np.repeat(dout.sum(axis=1, keepdims=True), self.shape[1], axis=1) / self.shape[1]


class AddBias:
    def forward(self, x, b):
        self.rows = len(x)
        return x + b

    def backward(self, dout):
        return dout, dout.sum(axis=0)


class MatMulNode:
    def forward(self, a, b):
        self.a, self.b = a, b
        return a @ b

    def backward(self, dout):
        return dout @ self.b.T, self.a.T @ dout


class DotProduct:
    def forward(self, a, b):
        self.a, self.b = a, b
        return np.sum(a * b, axis=1)

    def backward(self, dout):
        return dout[:, None] * self.b, dout[:, None] * self.a


class BilinearForm:
    def __init__(self, W):
        self.W = W

    def forward(self, a, b):
        self.a, self.b = a, b
        return np.sum(a @ self.W * b, axis=1, keepdims=True)

    def backward(self, dout):
        self.dW = self.a.T @ (dout * self.b)
        return dout * (self.b @ self.W.T), dout * (self.a @ self.W)


class Attention:
    def forward(self, q, k, v):
        self.q, self.k, self.v, self.scale = q, k, v, 1 / np.sqrt(q.shape[-1])
        scores = q @ k.transpose(0, 2, 1) * self.scale
        e = np.exp(scores - scores.max(axis=-1, keepdims=True))
        self.a = e / e.sum(axis=-1, keepdims=True)
        return self.a @ v

    def backward(self, dout):
        da = dout @ self.v.transpose(0, 2, 1)
        ds = self.a * (da - (da * self.a).sum(axis=-1, keepdims=True)) * self.scale
        return ds @ self.k, ds.transpose(0, 2, 1) @ self.q, self.a.transpose(0, 2, 1) @ dout


class Triplet:
    """A loss of three inputs that are alike, with a gradient for each."""

    def forward(self, anchor, positive, negative):
        near, far = anchor - positive, anchor - negative
        margin = (near**2).sum(axis=1) - (far**2).sum(axis=1) + 1
        self.near, self.far, self.counts = near, far, (margin > 0)[:, None] / len(margin)
        return np.maximum(margin, 0).mean()

    def backward(self, dout=1):
        scale = 2 * dout * self.counts
        return scale * (self.near - self.far), -scale * self.near, scale * self.far


def rnn_step_forward(x, prev_h, Wx, Wh, b):
    next_h = np.tanh(x @ Wx + prev_h @ Wh + b)
    return next_h, (x, prev_h, Wx, Wh, next_h)


def rnn_step_backward(dnext_h, cache):
    x, prev_h, Wx, Wh, next_h = cache
    da = dnext_h * (1 - next_h**2)
    return da @ Wx.T, da @ Wh.T, x.T @ da, prev_h.T @ da, da.sum(axis=0)
