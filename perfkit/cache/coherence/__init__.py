"""Coherence: what keeps the memories of several instances from telling different truths."""
