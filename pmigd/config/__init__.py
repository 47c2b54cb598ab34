"""The configuration file: its schema, how it is read and checked, and its reference text.

``schema`` names every key, ``rules`` says how values must fit together, ``load`` reads a file
and finds all its faults, ``reload`` tells what a running daemon can take up, ``reference``
prints the commented file.
"""
