"""The journal: what pmigd must still know after it was killed on any line."""

from pmigd.adapters.journal.sqlite import Entry, Journal, JournalError

__all__ = ["Entry", "Journal", "JournalError"]
