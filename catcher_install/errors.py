"""Errors that a person is expected to meet: what is wrong, and what to type."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .messages import Finding


# The hint of what only root may do. catcherctl adds the arguments that were typed.
AS_ROOT = "run it as root:\n  sudo catcherctl"


class CatcherError(Exception):
    """An expected failure.

    message: one line that says what is wrong.
    hint: what to do, a line for each step, or "". A line that begins with two blanks is a command.
    finding: the finding that says the same, if the catalogue has one.
    """

    finding: "Optional[Finding]" = None

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def reason_of(error: BaseException) -> str:
    """Why a call of the system failed, in its own words; never ""."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


class KeyRefused(CatcherError):
    """A private key may not be made in this place (a chroot or an image build: clones would share it)."""


class ChangedMeanwhile(OSError):
    """A file is not, or no longer, what was read before; what somebody else has put there stays."""


class MissingDependency(CatcherError):
    """An optional Python package is absent or broken, so one feature is not available."""
