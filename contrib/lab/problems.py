"""What can go wrong in the lab, told apart by what the reader must do."""

from __future__ import annotations


class LabError(Exception):
    """Something in the lab failed; the text carries the end of the log that tells why."""


class LabUnavailable(LabError):  # noqa: N818 - a statement about the machine, not a mishap
    """This machine cannot run a lab; `missing` lists everything it lacks."""

    def __init__(self, missing: list[str]) -> None:
        super().__init__("the lab cannot run here: " + "; ".join(missing))
        self.missing = missing
