"""The one error that means "the check itself could not be made"."""


class InputError(ValueError):
    """Raised when a check cannot be made at all: wrong usage, or input that cannot be read or written.

    It says nothing about the subject under test. The command line prints its message as one line and exits
    with status 2, so every message is one line that names the subject, what was received, what is required
    and what to do.
    """
