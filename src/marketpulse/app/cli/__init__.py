"""The command line: one small module per group of commands. Nothing heavy is imported before a command runs."""

from marketpulse.cache import keep_bytecode

keep_bytecode()  # before the first of the larger imports

from marketpulse.app.cli.main import main  # noqa: E402

__all__ = ["main"]
