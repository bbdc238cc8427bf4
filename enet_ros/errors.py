"""The one exception that means: the user can mend this."""

from __future__ import annotations


class EnetError(Exception):
    """A mistake in what the user gave; its text is one line that names the bad value and the remedy."""
