"""The one error of the build tools."""


class Refused(Exception):
    """Something cannot be done: the message says what is wrong, and ``hint`` what to type, one line each."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint
