"""Words of sentences that say how many there are of something."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural if it is not one.

    Examples
    --------
    >>> counted(1, "region"), counted(2, "region")
    ('1 region', '2 regions')
    """
    return f"{number} {noun}{'s' * (number != 1)}"
