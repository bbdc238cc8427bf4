"""All exceptions of the package, and how the text of an error is written.

EnetError
├── ImageError
│   ├── ImageFileError
│   └── ImageMessageError
├── IncompleteInputError
├── DatasetError
├── ModelFileError
├── EngineError
│   └── CalibrationError
├── RecipeError
├── TrainingError
│   └── TrainingStopped
├── UsageError
└── NotMeasurableError
    └── OutOfMemoryError
"""

from __future__ import annotations

QUOTED_LENGTH = 40
"""Characters of foreign text, such as a publisher's, that an error or log line repeats."""
_LINE_LENGTH = 300


class EnetError(Exception):
    """Base class for errors the user can fix. Its text is one line that names the bad value and the remedy."""


class ImageError(EnetError):
    """An image cannot be used."""


class ImageFileError(ImageError):
    """An image or label file is missing, damaged or of the wrong kind."""


class ImageMessageError(ImageError):
    """An image message cannot be used."""


class IncompleteInputError(EnetError):
    """A video or bag ends early. What is readable was read before this was raised."""


class DatasetError(EnetError):
    """A dataset is missing, incomplete or contradicts itself."""


class ModelFileError(EnetError):
    """A model file cannot be used."""


class EngineError(EnetError):
    """An engine cannot be created or does not give the labels it should."""


class CalibrationError(EngineError):
    """Precision int8 needs calibration images. No other backend can replace them, so `auto` does not try another one."""


class RecipeError(EnetError):
    """A training recipe is invalid."""


class TrainingError(EnetError):
    """A training run cannot start or continue."""


class TrainingStopped(TrainingError):
    """A signal stopped a training run, which can be resumed."""


class UsageError(EnetError):
    """An argument is unknown or the value of a parameter is not allowed. The exit code is 2."""


class NotMeasurableError(EnetError):
    """The machine cannot run a benchmark case."""


class OutOfMemoryError(NotMeasurableError):
    """A benchmark case does not fit into memory."""


def one_line(error: BaseException) -> str:
    """Return the text of any exception as one line of at most 300 characters: its type's name if it has no text."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = ' '.join(text.split()) or type(error).__name__
    return line if len(line) <= _LINE_LENGTH else f'{line[:_LINE_LENGTH - 3]}...'


def described(error: BaseException) -> str:
    """Return the text of any exception as one line, with the name of its type if it is not an EnetError."""
    return str(error) if isinstance(error, EnetError) else f'{type(error).__name__}: {one_line(error)}'


def quoted(text: str) -> str:
    """Return foreign text in double quotes for an error or log line: escaped, and cut to `QUOTED_LENGTH` characters."""
    short = text if len(text) <= QUOTED_LENGTH else f'{text[:QUOTED_LENGTH - 3]}...'
    return '"' + short.encode('unicode_escape').decode('ascii').replace('"', "'") + '"'


def printable(text: str) -> str:
    """Return text with its control characters escaped: a line of a log or terminal, whatever file names it has."""
    return ''.join(character if character.isprintable() else character.encode('unicode_escape').decode('ascii')
                   for character in text)
