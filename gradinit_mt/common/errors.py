"""The error that commands report in one line, and how it describes differing settings."""


class UserError(ValueError):
    """An error that the user can fix; the message names the value or file, what was expected, and what to do."""


def differing(there: dict, here: dict, missing: object = None) -> list[str]:
    """Each name whose values differ, with both values; ``missing`` replaces an absent value."""
    return [
        f"{name} {there.get(name, missing)} there, {here.get(name, missing)} here"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
