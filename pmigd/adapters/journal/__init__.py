"""The journal: what pmigd must still know after it was killed on any line."""

from pmigd.adapters.journal.documents import Unreadable
from pmigd.adapters.journal.journal import Journal, JournalEntry, JournalError
from pmigd.adapters.journal.store import Contents

__all__ = ["Contents", "Journal", "JournalEntry", "JournalError", "Unreadable"]
