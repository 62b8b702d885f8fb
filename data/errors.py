"""The errors that a user meets: one clear sentence each, and an exit status."""


class ScaleproofError(Exception):
    """The work failed; the message is one sentence that says what is wrong and what to do."""

    exit_status = 1


class InputError(ScaleproofError):
    """The call or its input is wrong."""

    exit_status = 2
