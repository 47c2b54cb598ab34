"""Tools around pmigd that are not installed with it."""
