"""The command line: arguments in, one exit status out. Each command is a module of its own."""

from oracle.cli.entry import main

__all__ = ["main"]
