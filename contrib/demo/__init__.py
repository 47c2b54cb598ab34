"""The demonstration: two hosts, one guest that writes its memory, one live migration.

It is also a check. Whatever it claims it has measured, and what is wrong makes it fail.
"""
