"""Independent ways to the same quantity: backprop, numerical and autograd."""
