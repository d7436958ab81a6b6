"""Vertex AI, imitated: answers when no project is configured, and where the laboratory measures."""
