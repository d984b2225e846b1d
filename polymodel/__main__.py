"""`python -m polymodel` is the command line."""

from polymodel.cli import main

main()
