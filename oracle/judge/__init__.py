"""The judge: comparisons within derived bounds, named checks, and verdicts."""
