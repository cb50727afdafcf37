"""Tables, Markdown and JSON for people and machines."""
