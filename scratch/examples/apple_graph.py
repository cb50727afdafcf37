"""The price of two apples as a computational graph, forward and backward.

    apple ──┐
            × ── apple price ──┐
    number ─┘                  × ── price
    tax ───────────────────────┘

Two apples at 100 with 10 % tax cost 220. Backward, each node multiplies the upstream gradient with its local
derivative, and the chain rule answers how the price changes with each input: by 2.2 for one unit of the
apple's price, by 110 for one more apple, by 200 for one unit of the tax factor.

Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.4.1.

>>> main()
price               220.0
dApple                2.2
dApple_num          110.0
dTax                200.0
"""

from __future__ import annotations

from scratch.graph import MulLayer


def apple_graph(apple: float = 100, apple_num: float = 2, tax: float = 1.1) -> dict[str, float]:
    """Return the price and its derivative with respect to each input."""
    apple_node, tax_node = MulLayer(), MulLayer()

    apple_price = apple_node.forward(apple, apple_num)
    price = tax_node.forward(apple_price, tax)

    d_apple_price, d_tax = tax_node.backward(1.0)
    d_apple, d_apple_num = apple_node.backward(d_apple_price)

    results = {"price": price, "dApple": d_apple, "dApple_num": d_apple_num, "dTax": d_tax}
    return {name: float(value) for name, value in results.items()}


def main() -> None:
    """Print the results."""
    for name, value in apple_graph().items():
        print(f"{name:14s} {value:10.1f}")


if __name__ == "__main__":
    main()
