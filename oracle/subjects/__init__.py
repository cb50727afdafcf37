"""How whatever is under test is opened and called: one interface for every subject."""
