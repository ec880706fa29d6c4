"""What can go wrong in a training run."""


class TrainingError(Exception):
    """A failure that is no bug: a wrong recipe, missing data, a directory that cannot be written.

    Its text is one line for people.
    """


class Refusal(TrainingError):
    """A candidate that the gate does not let pass; `verdict` is the gate's, as JSON."""

    def __init__(self, reasons: str, verdict: str) -> None:
        super().__init__(f"refused, nothing is published: {reasons}")
        self.verdict = verdict
