"""Texts of many callers gathered into few requests: policy apart from mechanics."""
