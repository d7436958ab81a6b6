"""`python -m perfkit.export` brings every generated file up to date."""

from pathlib import Path

from perfkit.export.variables import write_generated

for name in write_generated(Path(__file__).parents[2]):
    print(name)  # noqa: T201  # the command's output
