"""Layers whose names are no record's: normalisation, dropout, convolution, pooling, and smooth activations."""

import numpy as np


class BatchNormalization:
    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var

    def forward(self, x, train_flg=True):
        if self.running_mean is None:
            self.running_mean = np.zeros(x.shape[1])
            self.running_var = np.zeros(x.shape[1])
        if train_flg:
            mu = x.mean(axis=0)
            self.xc = x - mu
            var = np.mean(self.xc**2, axis=0)
            self.std = np.sqrt(var + 10e-7)
            self.xn = self.xc / self.std
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
            xn = self.xn
        else:
            xn = (x - self.running_mean) / np.sqrt(self.running_var + 10e-7)
        return self.gamma * xn + self.beta

    def backward(self, dout):
        n = len(dout)
        dbeta = dout.sum(axis=0)
        dgamma = np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
        dvar = 0.5 * dstd / self.std
        dxc += (2.0 / n) * self.xc * dvar
        dmu = np.sum(dxc, axis=0)
        self.dgamma = dgamma
        self.dbeta = dbeta
        return dxc - dmu / n


class LayerNorm:
    def __init__(self, num_features, eps=1e-5):
        self.scale, self.shift = np.ones((1, num_features)), np.zeros((1, num_features))
        self.eps = eps

    def forward(self, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        self.deviation = np.sqrt(x.var(axis=-1, keepdims=True) + self.eps)
        self.normal = centred / self.deviation
        return self.normal * self.scale + self.shift

    def backward(self, dout):
        self.grad_scale = (dout * self.normal).sum(axis=0, keepdims=True)
        self.grad_shift = dout.sum(axis=0, keepdims=True)
        d = dout * self.scale
        mean = d.mean(axis=-1, keepdims=True)
        along = (d * self.normal).mean(axis=-1, keepdims=True)
        return (d - mean - self.normal * along) / self.deviation


class Dropout:
    def __init__(self, dropout_ratio=0.5):
        self.dropout_ratio = dropout_ratio
        self.mask = None

    def forward(self, x, train_flg=True):
        if train_flg:
            self.mask = np.random.rand(*x.shape) > self.dropout_ratio
            return x * self.mask / (1 - self.dropout_ratio)
        return x * 1.0

    def backward(self, dout):
        return dout * self.mask / (1 - self.dropout_ratio)


def im2col(images, height, width, stride=1, pad=0):
    N, C, H, W = images.shape
    rows, columns = (H + 2 * pad - height) // stride + 1, (W + 2 * pad - width) // stride + 1
    padded = np.pad(images, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    col = np.zeros((N, C, height, width, rows, columns))
    for i in range(height):
        for j in range(width):
            col[:, :, i, j] = padded[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride]
    return col.transpose(0, 4, 5, 1, 2, 3).reshape(N * rows * columns, -1)


def col2im(col, shape, height, width, stride=1, pad=0):
    N, C, H, W = shape
    rows, columns = (H + 2 * pad - height) // stride + 1, (W + 2 * pad - width) // stride + 1
    col = col.reshape(N, rows, columns, C, height, width).transpose(0, 3, 4, 5, 1, 2)
    images = np.zeros((N, C, H + 2 * pad, W + 2 * pad))
    for i in range(height):
        for j in range(width):
            images[:, :, i : i + stride * rows : stride, j : j + stride * columns : stride] += col[:, :, i, j]
    return images[:, :, pad : H + pad, pad : W + pad]


class Convolution:
    def __init__(self, W, b, stride=1, pad=1):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad

    def forward(self, x):
        FN, C, FH, FW = self.W.shape
        N, C, H, W = x.shape
        out_h, out_w = (H + 2 * self.pad - FH) // self.stride + 1, (W + 2 * self.pad - FW) // self.stride + 1
        self.x = x
        self.col = im2col(x, FH, FW, self.stride, self.pad)
        self.col_W = self.W.reshape(FN, -1).T
        out = self.col @ self.col_W + self.b
        return out.reshape(N, out_h, out_w, -1).transpose(0, 3, 1, 2)

    def backward(self, dout):
        FN, C, FH, FW = self.W.shape
        dout = dout.transpose(0, 2, 3, 1).reshape(-1, FN)
        self.db = np.sum(dout, axis=0)
        self.dW = (self.col.T @ dout).transpose(1, 0).reshape(FN, C, FH, FW)
        return col2im(dout @ self.col_W.T, self.x.shape, FH, FW, self.stride, self.pad)


class Pooling:
    def __init__(self, pool_h, pool_w, stride=1, pad=0):
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad

    def forward(self, x):
        N, C, H, W = x.shape
        out_h, out_w = (H - self.pool_h) // self.stride + 1, (W - self.pool_w) // self.stride + 1
        col = im2col(x, self.pool_h, self.pool_w, self.stride, self.pad).reshape(-1, self.pool_h * self.pool_w)
        self.x, self.arg_max = x, np.argmax(col, axis=1)
        return np.max(col, axis=1).reshape(N, out_h, out_w, C).transpose(0, 3, 1, 2)

    def backward(self, dout):
        dout = dout.transpose(0, 2, 3, 1)
        dmax = np.zeros((dout.size, self.pool_h * self.pool_w))
        dmax[np.arange(self.arg_max.size), self.arg_max.flatten()] = dout.flatten()
        dcol = dmax.reshape(dout.shape[0] * dout.shape[1] * dout.shape[2], -1)
        return col2im(dcol, self.x.shape, self.pool_h, self.pool_w, self.stride, self.pad)


class AveragePool2D:
    def __init__(self, pool_size=2):
        self.k = pool_size

    def forward(self, x):
        N, C, H, W = x.shape
        self.shape = x.shape
        return x.reshape(N, C, H // self.k, self.k, W // self.k, self.k).mean(axis=(3, 5))

    def backward(self, dout):
        return np.repeat(np.repeat(dout, self.k, axis=2), self.k, axis=3) / self.k**2


class Softplus:
    def forward(self, x):
        self.x = x
        return np.logaddexp(0, x)

    def backward(self, dout):
        return dout / (1 + np.exp(-self.x))


class GELU:
    def forward(self, x):
        self.x = x
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def backward(self, dout):
        x, c = self.x, np.sqrt(2 / np.pi)
        t = np.tanh(c * (x + 0.044715 * x**3))
        slope = 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * c * (1 + 3 * 0.044715 * x**2)
        return dout * slope


class ELU:
    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.alpha * (np.exp(np.minimum(x, 0)) - 1))

    def backward(self, dout):
        return dout * np.where(self.x > 0, 1, self.alpha * np.exp(np.minimum(self.x, 0)))


class ReLU6:
    def forward(self, x):
        self.x = x
        return np.minimum(np.maximum(x, 0), 6)

    def backward(self, dout):
        return dout * ((self.x > 0) & (self.x < 6))


class LeakyReLU:
    def __init__(self, alpha):
        self.alpha = alpha

    def __call__(self, x):
        self.x = x
        return np.where(x > 0, x, self.alpha * x)

    def backward(self, dout):
        return np.where(self.x > 0, dout, self.alpha * dout)


class PReLU:
    def __init__(self, alpha):
        self.alpha = alpha

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.alpha * x)

    def backward(self, dout):
        self.dalpha = (dout * self.x * (self.x <= 0)).sum(axis=0)
        return np.where(self.x > 0, dout, self.alpha * dout)


class Flatten:
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, dout):
        return dout.reshape(self.shape)


class Mixer:
    """An affine layer by another name, with its sizes given and its weights inside."""

    def __init__(self, in_features, out_features):
        self.W = np.random.randn(in_features, out_features)
        self.b = np.zeros(out_features)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return dout @ self.W.T


class MaxPool:
    def forward(self, x):
        N, C, H, W = x.shape
        self.x = x
        out = np.zeros((N, C, H // 2, W // 2))
        for i in range(H // 2):
            for j in range(W // 2):
                out[:, :, i, j] = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].max(axis=(2, 3))
        self.out = out
        return out.copy()

    def backward(self, dout):
        dx = np.zeros(self.x.shape)
        for i in range(dout.shape[2]):
            for j in range(dout.shape[3]):
                window = self.x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                largest = window == self.out[:, :, i, j][:, :, None, None]
                dx[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] += largest * dout[:, :, i, j][:, :, None, None]
        return dx


def swish(x):
    return x / (1 + np.exp(-x))


def swish_derivative(x):
    s = 1 / (1 + np.exp(-x))
    return s + x * s * (1 - s)


def batchnorm_forward(x, gamma, beta, bn_param):
    if bn_param["mode"] != "train":
        raise ValueError(bn_param["mode"])
    eps = bn_param.get("eps", 1e-5)
    mean, var = x.mean(axis=0), x.var(axis=0)
    hat = (x - mean) / np.sqrt(var + eps)
    return gamma * hat + beta, (x, mean, var, hat, gamma, eps)


def batchnorm_backward(dout, cache):
    x, mean, var, hat, gamma, eps = cache
    N = len(x)
    dhat = dout * gamma
    dvar = np.sum(dhat * (x - mean) * -0.5 * (var + eps) ** -1.5, axis=0)
    dmean = np.sum(dhat * -1 / np.sqrt(var + eps), axis=0) + dvar * np.mean(-2 * (x - mean), axis=0)
    dx = dhat / np.sqrt(var + eps) + dvar * 2 * (x - mean) / N + dmean / N
    return dx, np.sum(dout * hat, axis=0), np.sum(dout, axis=0)


def conv_forward_naive(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    HH, WW = w.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (HH, WW), axis=(2, 3))[:, :, ::stride, ::stride]
    out = np.tensordot(windows, w, axes=([1, 4, 5], [1, 2, 3])) + b
    return out.transpose(0, 3, 1, 2), (x, w, b, conv_param)


def conv_backward_naive(dout, cache):
    x, w, b, conv_param = cache
    stride, pad = conv_param["stride"], conv_param["pad"]
    F, _, HH, WW = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    dpadded, dw = np.zeros(padded.shape), np.zeros(w.shape)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            rows, columns = slice(i * stride, i * stride + HH), slice(j * stride, j * stride + WW)
            upstream = dout[:, :, i, j]
            dw += np.tensordot(upstream, padded[:, :, rows, columns], axes=(0, 0))
            dpadded[:, :, rows, columns] += np.tensordot(upstream, w, axes=(1, 0))
    dx = dpadded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]
    return dx, dw, dout.sum(axis=(0, 2, 3))


def max_pool_forward_naive(x, pool_param):
    height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    N, C, H, W = x.shape
    out = np.zeros((N, C, 1 + (H - height) // stride, 1 + (W - width) // stride))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            window = x[:, :, i * stride : i * stride + height, j * stride : j * stride + width]
            out[:, :, i, j] = window.max(axis=(2, 3))
    return out, (x, pool_param)


def max_pool_backward_naive(dout, cache):
    x, pool_param = cache
    height, width, stride = pool_param["pool_height"], pool_param["pool_width"], pool_param["stride"]
    dx = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(dout.shape):
        window = x[n, c, i * stride : i * stride + height, j * stride : j * stride + width]
        at = np.unravel_index(window.argmax(), window.shape)
        dx[n, c, i * stride + at[0], j * stride + at[1]] += dout[n, c, i, j]
    return dx


def dropout_forward(x, dropout_param):
    p, mode = dropout_param["p"], dropout_param["mode"]
    if "seed" in dropout_param:
        np.random.seed(dropout_param["seed"])
    mask = None
    if mode == "train":
        mask = (np.random.rand(*x.shape) < p) / p
    return (x * mask if mode == "train" else x), (dropout_param, mask)


def dropout_backward(dout, cache):
    dropout_param, mask = cache
    return dout * mask
