"""Timings side by side: ratios within one run, on the same threads."""
