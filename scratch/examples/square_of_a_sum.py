"""z = (x + y)²: one value used twice receives two gradients, which are added.

    x ──┐         ┌──┐
        + ── s ───┤  × ── z
    y ──┘         └──┘

The square is a multiply node fed with s at both inputs. Its backward pass returns one gradient for each
input, s for either. Both belong to the same s, whose gradient is their sum, ∂z/∂s = 2s; therefore
∂z/∂x = ∂z/∂y = 2 (x + y).

Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.2.

>>> main()
z            25.0
dx           10.0
dy           10.0
"""

from __future__ import annotations

from scratch.graph import AddLayer, MulLayer


def square_of_a_sum(x: float = 2, y: float = 3) -> dict[str, float]:
    """Return z = (x + y)² and its derivatives."""
    add_node, square_node = AddLayer(), MulLayer()

    s = add_node.forward(x, y)
    z = square_node.forward(s, s)

    ds_left, ds_right = square_node.backward(1.0)
    dx, dy = add_node.backward(ds_left + ds_right)

    return {"z": float(z), "dx": float(dx), "dy": float(dy)}


def main() -> None:
    """Print the results."""
    for name, value in square_of_a_sum().items():
        print(f"{name:7s} {value:9.1f}")


if __name__ == "__main__":
    main()
