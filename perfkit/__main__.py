"""`python -m perfkit` is the command line."""

from perfkit.cli import main

main()
