"""Worked examples, each runnable: python -m scratch.examples.apple_graph, and so on."""
