"""The exit statuses of every command."""

from __future__ import annotations

#: Right, a hazard or lost precision (the latter two with ``--strict`` are WRONG).
RIGHT = 0
#: Something is wrong, or could not be run.
WRONG = 1
#: The check itself could not be made: usage, input that cannot be read.
NOT_MADE = 2
INTERRUPTED = 130
