"""The errors that commands report as one line, and what they say of settings."""


class UserError(ValueError):
    """Something the user can mend; the message names the value or file, what was expected, and what to do."""


def differing(there: dict, here: dict, missing: object = None) -> list[str]:
    """For each name whose values differ, the name and both values; ``missing`` stands for one that is not there."""
    return [
        f"{name} {there.get(name, missing)} there, {here.get(name, missing)} here"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
