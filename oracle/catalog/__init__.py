"""What is known about each layer, and how cases of it are drawn."""
