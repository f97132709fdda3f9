"""Text that came from elsewhere, made fit for a terminal."""

SHOWN_LIMIT = 200


def shown(text: str, limit: int = SHOWN_LIMIT) -> str:
    """Untrusted text as short plain ASCII for a terminal."""
    cut = text[:limit]
    plain = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in cut)
    return plain + ("..." if len(text) > limit else "")
