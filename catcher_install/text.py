"""Text for people, logs and scripts, in a form that is safe for a terminal, the journal and JSON.

Everything that others have written (file names, certificates, what a peer sends) goes through here before it is shown.
"""

import time

SHOWN_LIMIT = 200


def plain(text: str) -> str:
    """Return text as one line of printable ASCII, which every terminal, locale and log shows in the same way."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in text)


def shown(text: str, limit: int = SHOWN_LIMIT) -> str:
    """Return at most *limit* characters of untrusted text, as plain() does, with "..." if it was longer."""
    return plain(text[:limit]) + ("..." if len(text) > limit else "")


def shown_bytes(data: bytes, limit: int = SHOWN_LIMIT) -> str:
    """Return at most *limit* untrusted bytes as text; bytes beyond ASCII become \\xNN."""
    return shown(data.decode("latin-1"), limit)


def moment(seconds: object) -> str:
    """Return seconds since the epoch as date and time in UTC; "an unknown time" for anything else."""
    if not isinstance(seconds, (int, float)):
        return "an unknown time"
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def json_text(value: object) -> str:
    """Return a value as JSON: ASCII, keys sorted, a line for each item, without a final newline."""
    import json

    return json.dumps(value, indent=2, sort_keys=True)
