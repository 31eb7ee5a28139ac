"""Text from the database, compared in Python as the database compares it."""

from __future__ import annotations


def comparable(text: str | None) -> str:
    """The form in which codes, statuses and national ids are compared.

    SQL Server pads CHAR columns, ignores trailing blanks, and under its usual collations case as
    well. Two spellings that a strict collation tells apart are one here: the platform's codes
    differ in more than case.
    """
    return (text or "").strip().casefold()
