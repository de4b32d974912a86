"""What this package raises for people to read: one base class, caught once by the command line."""


class TllError(Exception):
    """Something a person can mend; the message says where, what was expected and what to do."""


class SettingsError(TllError, ValueError):
    """A setting from the environment or the command line cannot be used."""


class DataError(TllError, ValueError):
    """The data cannot be used; the message names the file and the row."""


class SubmissionError(TllError, ValueError):
    """A submission or truth file cannot be used; the message names the file and the row."""


class UnknownBackbone(TllError, ValueError):
    """A name that the registry of backbones does not hold."""


class WeightsNotFound(TllError, RuntimeError):
    """Weights cannot be had; the message says which file to put where."""


class WeightsDamaged(WeightsNotFound):
    """A weight file is there and cannot be read."""


class TrainingError(TllError, RuntimeError):
    """A training cannot start or go on; the message says why."""


class NotebookError(TllError, RuntimeError):
    """A notebook cannot be found, or a cell of it failed."""
