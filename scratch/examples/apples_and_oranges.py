"""Two apples and three oranges: a graph of multiply nodes and an add node.

    number of apples ──┐
                       × ── apple price ───┐
    apple ─────────────┘                   │
                                           + ── all price ──┐
    orange ────────────┐                   │                × ── price
                       × ── orange price ──┘                │
    number of oranges ─┘                                    │
    tax ────────────────────────────────────────────────────┘

Source: "Deep Learning from Scratch" (Koki Saitoh), section 5.4.2.

>>> main()
price               715.0
dApple                2.2
dApple_num          110.0
dOrange               3.3
dOrange_num         165.0
dTax                650.0
"""

from __future__ import annotations

from scratch.graph import AddLayer, MulLayer


def apples_and_oranges(
    apple: float = 100, apple_num: float = 2, orange: float = 150, orange_num: float = 3, tax: float = 1.1
) -> dict[str, float]:
    """Return the price and its derivative with respect to each input."""
    apple_node, orange_node, add_node, tax_node = MulLayer(), MulLayer(), AddLayer(), MulLayer()

    apple_price = apple_node.forward(apple, apple_num)
    orange_price = orange_node.forward(orange, orange_num)
    all_price = add_node.forward(apple_price, orange_price)
    price = tax_node.forward(all_price, tax)

    d_all_price, d_tax = tax_node.backward(1.0)
    d_apple_price, d_orange_price = add_node.backward(d_all_price)
    d_orange, d_orange_num = orange_node.backward(d_orange_price)
    d_apple, d_apple_num = apple_node.backward(d_apple_price)

    results = {
        "price": price,
        "dApple": d_apple,
        "dApple_num": d_apple_num,
        "dOrange": d_orange,
        "dOrange_num": d_orange_num,
        "dTax": d_tax,
    }
    return {name: float(value) for name, value in results.items()}


def main() -> None:
    """Print the results."""
    for name, value in apples_and_oranges().items():
        print(f"{name:14s} {value:10.1f}")


if __name__ == "__main__":
    main()
