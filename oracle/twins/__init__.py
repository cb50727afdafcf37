"""PyTorch twins of the records, written independently of ``scratch``: with PyTorch's own operations.

The modules below are the only ones that import torch, and nothing imports them before they are called.
"""
