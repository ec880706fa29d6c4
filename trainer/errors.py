"""What can go wrong in a training run."""


class TrainingError(Exception):
    """A failure that is no bug: a wrong recipe, missing data, a directory that cannot be written.

    Its text is one line for people.
    """
