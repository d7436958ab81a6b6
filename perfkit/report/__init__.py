"""The report of a run: one HTML file that needs nothing else. It computes nothing, it shows."""

from perfkit.report.page import render, write
from perfkit.report.view import RunView

__all__ = ["RunView", "render", "write"]
