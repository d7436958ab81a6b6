"""Texts that a model writes: kept, shared by those who ask the same, and asked for at a pace that is allowed."""
