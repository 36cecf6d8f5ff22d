"""The command line: one small module per group of commands. Nothing heavy is imported before a command runs."""

from marketpulse.app.cli.main import main

__all__ = ["main"]
