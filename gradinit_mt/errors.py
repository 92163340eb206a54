"""The errors that commands report as one line."""


class UserError(ValueError):
    """Something the user can mend; the message names the value or file, what was expected, and what to do."""
