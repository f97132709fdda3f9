"""The one error of the build tools."""


class Refused(Exception):
    """It cannot be done as asked: what is wrong, and in ``hint`` what to type, one line each."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint
