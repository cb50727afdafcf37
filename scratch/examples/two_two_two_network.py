"""Every partial derivative of a 2-2-2 sigmoid network with squared error, derived by hand.

Notation: the weight w_kj⁽ˡ⁾ leads from unit j of layer l − 1 to unit k of layer l, layer 0 being the input.
The arrays are stored inputs by outputs, so w_kj⁽ˡ⁾ is W⁽ˡ⁾[j, k], counted from 1 here and from 0 in the code.
With σ(z) = 1 / (1 + exp(−z)), whose derivative is σ' = σ · (1 − σ):

    z₁⁽¹⁾ = x₁ w₁₁⁽¹⁾ + x₂ w₁₂⁽¹⁾ + b₁⁽¹⁾        a₁⁽¹⁾ = σ(z₁⁽¹⁾)
    z₂⁽¹⁾ = x₁ w₂₁⁽¹⁾ + x₂ w₂₂⁽¹⁾ + b₂⁽¹⁾        a₂⁽¹⁾ = σ(z₂⁽¹⁾)
    z₁⁽²⁾ = a₁⁽¹⁾ w₁₁⁽²⁾ + a₂⁽¹⁾ w₁₂⁽²⁾ + b₁⁽²⁾    a₁⁽²⁾ = σ(z₁⁽²⁾)
    z₂⁽²⁾ = a₁⁽¹⁾ w₂₁⁽²⁾ + a₂⁽¹⁾ w₂₂⁽²⁾ + b₂⁽²⁾    a₂⁽²⁾ = σ(z₂⁽²⁾)
    E = ½ (a₁⁽²⁾ − t₁)² + ½ (a₂⁽²⁾ − t₂)²

Layer 2. A weight w_kj⁽²⁾ acts on E through z_k⁽²⁾ and a_k⁽²⁾ alone, so the chain has three factors:

    ∂E/∂w_kj⁽²⁾ = ∂E/∂a_k⁽²⁾ · ∂a_k⁽²⁾/∂z_k⁽²⁾ · ∂z_k⁽²⁾/∂w_kj⁽²⁾
                = (a_k⁽²⁾ − t_k) · a_k⁽²⁾ (1 − a_k⁽²⁾) · a_j⁽¹⁾

The first two factors belong to the unit, whatever the weight: its delta, δ_k⁽²⁾ = ∂E/∂z_k⁽²⁾.

    δ₁⁽²⁾ = (a₁⁽²⁾ − t₁) a₁⁽²⁾ (1 − a₁⁽²⁾)          δ₂⁽²⁾ = (a₂⁽²⁾ − t₂) a₂⁽²⁾ (1 − a₂⁽²⁾)
    ∂E/∂w₁₁⁽²⁾ = δ₁⁽²⁾ a₁⁽¹⁾                     ∂E/∂w₂₁⁽²⁾ = δ₂⁽²⁾ a₁⁽¹⁾
    ∂E/∂w₁₂⁽²⁾ = δ₁⁽²⁾ a₂⁽¹⁾                     ∂E/∂w₂₂⁽²⁾ = δ₂⁽²⁾ a₂⁽¹⁾
    ∂E/∂b₁⁽²⁾ = δ₁⁽²⁾                           ∂E/∂b₂⁽²⁾ = δ₂⁽²⁾

Layer 1. a_j⁽¹⁾ feeds both output units, so both paths are added:

    ∂E/∂a_j⁽¹⁾ = δ₁⁽²⁾ ∂z₁⁽²⁾/∂a_j⁽¹⁾ + δ₂⁽²⁾ ∂z₂⁽²⁾/∂a_j⁽¹⁾ = δ₁⁽²⁾ w₁ⱼ⁽²⁾ + δ₂⁽²⁾ w₂ⱼ⁽²⁾
    δ₁⁽¹⁾ = (δ₁⁽²⁾ w₁₁⁽²⁾ + δ₂⁽²⁾ w₂₁⁽²⁾) a₁⁽¹⁾ (1 − a₁⁽¹⁾)
    δ₂⁽¹⁾ = (δ₁⁽²⁾ w₁₂⁽²⁾ + δ₂⁽²⁾ w₂₂⁽²⁾) a₂⁽¹⁾ (1 − a₂⁽¹⁾)
    ∂E/∂w₁₁⁽¹⁾ = δ₁⁽¹⁾ x₁                       ∂E/∂w₂₁⁽¹⁾ = δ₂⁽¹⁾ x₁
    ∂E/∂w₁₂⁽¹⁾ = δ₁⁽¹⁾ x₂                       ∂E/∂w₂₂⁽¹⁾ = δ₂⁽¹⁾ x₂
    ∂E/∂b₁⁽¹⁾ = δ₁⁽¹⁾                           ∂E/∂b₂⁽¹⁾ = δ₂⁽¹⁾

In matrices, one row a sample, ⊙ entry by entry:

    δ⁽¹⁾ = (δ⁽²⁾ W⁽²⁾ᵀ) ⊙ A⁽¹⁾ ⊙ (1 − A⁽¹⁾)        ∂E/∂W⁽²⁾ = A⁽¹⁾ᵀ δ⁽²⁾        ∂E/∂W⁽¹⁾ = Xᵀ δ⁽¹⁾

Four misprints are in circulation, and the test of this example shows that each gives another gradient:
(a₁⁽²⁾ − t₁) in ∂E/∂w₂ⱼ⁽²⁾, where (a₂⁽²⁾ − t₂) belongs; a₂⁽¹⁾ w₂₁⁽²⁾ in z₂⁽²⁾, where a₁⁽¹⁾ w₂₁⁽²⁾ belongs;
∂z₂⁽²⁾/∂w₂₁⁽²⁾ in ∂E/∂w₂₂⁽²⁾, where ∂z₂⁽²⁾/∂w₂₂⁽²⁾ belongs; and A⁽²⁾ᵀ in ∂E/∂W⁽²⁾, where A⁽¹⁾ᵀ belongs.

>>> main()
              by hand   backprop
dE/dw11(2)   0.082167   0.082167
dE/dw12(2)   0.082668   0.082668
dE/db1(2)    0.138499   0.138499
dE/dw21(2)  -0.022603  -0.022603
dE/dw22(2)  -0.022740  -0.022740
dE/db2(2)   -0.038098  -0.038098
dE/dw11(1)   0.000439   0.000439
dE/dw12(1)   0.000877   0.000877
dE/db1(1)    0.008771   0.008771
dE/dw21(1)   0.000498   0.000498
dE/dw22(1)   0.000995   0.000995
dE/db2(1)    0.009954   0.009954
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scratch.networks import MultiLayerNet

# The numbers of a widely used worked example (M. Mazur, "A step by step backpropagation example").
X = (0.05, 0.10)
T = (0.01, 0.99)
PARAMS: dict[str, ArrayLike] = {
    "W1": [[0.15, 0.25], [0.20, 0.30]],
    "b1": [0.35, 0.35],
    "W2": [[0.40, 0.50], [0.45, 0.55]],
    "b2": [0.60, 0.60],
}


def sigmoid(z: float) -> float:
    """Return 1 / (1 + exp(−z)); the numbers here are small."""
    return 1 / (1 + math.exp(-z))


def gradient_by_hand(params: Mapping[str, ArrayLike], x: ArrayLike, t: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Return the twelve partial derivatives of E, each from its own formula in this module's docstring.

    Args:
        params: W1 and W2 of shape (2, 2), inputs by outputs; b1 and b2 of shape (2,).
        x, t: one sample and its target, shape (2,).

    Returns:
        Arrays of the shapes of the parameters, float64.
    """
    x1, x2 = np.asarray(x).tolist()
    t1, t2 = np.asarray(t).tolist()
    # u_kj is w_kj of layer 1, v_kj is w_kj of layer 2.
    (u11, u21), (u12, u22) = np.asarray(params["W1"]).tolist()
    (v11, v21), (v12, v22) = np.asarray(params["W2"]).tolist()
    c1, c2 = np.asarray(params["b1"]).tolist()
    d1, d2 = np.asarray(params["b2"]).tolist()

    h1 = sigmoid(x1 * u11 + x2 * u12 + c1)  # a₁⁽¹⁾
    h2 = sigmoid(x1 * u21 + x2 * u22 + c2)  # a₂⁽¹⁾
    a1 = sigmoid(h1 * v11 + h2 * v12 + d1)  # a₁⁽²⁾
    a2 = sigmoid(h1 * v21 + h2 * v22 + d2)  # a₂⁽²⁾

    delta1 = (a1 - t1) * a1 * (1 - a1)
    delta2 = (a2 - t2) * a2 * (1 - a2)
    hidden_delta1 = (delta1 * v11 + delta2 * v21) * h1 * (1 - h1)
    hidden_delta2 = (delta1 * v12 + delta2 * v22) * h2 * (1 - h2)

    return {
        "W1": np.array([[hidden_delta1 * x1, hidden_delta2 * x1], [hidden_delta1 * x2, hidden_delta2 * x2]]),
        "b1": np.array([hidden_delta1, hidden_delta2]),
        "W2": np.array([[delta1 * h1, delta2 * h1], [delta1 * h2, delta2 * h2]]),
        "b2": np.array([delta1, delta2]),
    }


def network(params: Mapping[str, ArrayLike]) -> MultiLayerNet:
    """Return the 2-2-2 network with these parameters."""
    net = MultiLayerNet(2, [2], 2, hidden="sigmoid", output="sigmoid-squared")
    net.params.update(params)
    return net


def main() -> None:
    """Print every partial derivative, by hand and by backpropagation."""
    by_hand = gradient_by_hand(PARAMS, X, T)
    backprop = network(PARAMS).gradient(X, T)

    print("              by hand   backprop")
    for layer in (2, 1):
        for k in (0, 1):
            for j in (0, 1):
                W = f"W{layer}"
                print(f"dE/dw{k + 1}{j + 1}({layer})  {by_hand[W][j, k]:9.6f}  {backprop[W][j, k]:9.6f}")
            b = f"b{layer}"
            print(f"dE/db{k + 1}({layer})   {by_hand[b][k]:9.6f}  {backprop[b][k]:9.6f}")


if __name__ == "__main__":
    main()
