"""The error that users see, as one line."""


class UserError(Exception):
    """A problem that the user can solve: one line with the file, key or value and what to do."""
