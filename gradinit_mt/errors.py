"""The errors that commands report as one line, and what they say of settings."""


class UserError(ValueError):
    """Something the user can mend; the message names the value or file, what was expected, and what to do."""


def differing(there: dict, here: dict) -> list[str]:
    """For each setting that differs, its name and both values."""
    return [
        f"{name} {there.get(name)} there, {here.get(name)} here"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
