"""Errors that a person is expected to meet: what is wrong, and what to type."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .messages import Finding


# The hint for a command that only root may run. catcherctl adds the arguments that were typed.
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
    """Return why a system call failed, in the system's words; never ""."""
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


class KeyRefused(CatcherError):
    """A private key may not be made in this place (a chroot or an image build: clones would share it)."""


class ChangedMeanwhile(OSError):
    """Somebody else has changed a file since it was read. Their file stays."""


class MissingDependency(CatcherError):
    """An optional Python package is absent or broken, so one feature is not available."""
