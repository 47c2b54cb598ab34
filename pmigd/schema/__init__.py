"""What every schema shares: finding all the faults of an input at once.

Knows nothing of configs, requests or journals; ``config`` and ``wire`` describe those with
msgspec structs and bring them here to be checked.
"""
