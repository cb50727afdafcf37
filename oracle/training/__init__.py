"""The training loop as a subject: run beside its PyTorch twin and compared at every step."""
