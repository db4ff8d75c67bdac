"""The one error a user may see."""


class UserError(Exception):
    """Something the user can mend: one line that names the file, key or value and what to do."""
