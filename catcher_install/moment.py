"""A moment as text for a person."""

import time


def moment(seconds: object) -> str:
    """Seconds since the epoch as date and time in UTC; "an unknown time" for anything else."""
    if not isinstance(seconds, (int, float)):
        return "an unknown time"
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
