"""The one exception that means: the user can mend this."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in a command, a configuration or a file, said in one line.

    The message names the field or file, the value found and what to do; the
    command line prints it without a traceback and exits with status 2.
    """


class IllHealthError(UserError):
    """A run that ended itself for its health."""
