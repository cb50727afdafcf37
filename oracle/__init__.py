"""scratch-oracle: is the backward pass that you wrote by hand right?"""
