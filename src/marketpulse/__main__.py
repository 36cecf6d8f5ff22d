"""`python -m marketpulse` is the command line."""

from marketpulse.app.cli import main

main()
