"""Everything that kramar raises on purpose.

::

    KramarError
    ├── InputError           the input or the call is wrong (exit code 2)
    │   ├── DataError        a folder, table or photo set
    │   │   └── PhotoError   one photo; the run goes on without it
    │   ├── ModelFileError   a model file
    │   ├── RunFolderError   a run folder that holds something else
    │   ├── RequestError     one request to the service; the service goes on
    │   ├── ReviewError      one decision of a reviewer; the review goes on
    │   └── MissingExtra     a part that is not installed
    └── FailedError          the machine said no (exit code 1)
        ├── OutputError      disk full, not writable
        ├── TrainingError    one training that came to nothing; others go on
        └── ExportError      the exported file does not give its source's scores

A message is one line: where, what was expected, what was found, what to do.
"""

from __future__ import annotations


class KramarError(Exception):
    """Root of all errors that kramar raises on purpose."""

    exit_code = 1


class InputError(KramarError):
    """The input or the call is wrong; the message says how to put it right."""

    exit_code = 2


class DataError(InputError):
    """A folder, a table or a set of photos cannot be used as it is."""


class PhotoError(DataError):
    """One photo cannot be read.

    ``kind`` is its name in ``left_out`` (``unreadable``, ``missing``, ``too_large``).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class ModelFileError(InputError):
    """A model file is missing, broken or not kramar's."""


class RunFolderError(InputError):
    """A run folder holds a run of other data or options."""


class RequestError(InputError):
    """One request to the service cannot be answered.

    ``kind`` says why, and with which status it is answered (`serving.problems`); ``retry_after`` is how many seconds
    later the same request may do better, where that can be told.
    """

    def __init__(self, kind: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after


class ReviewError(InputError):
    """One decision of a reviewer cannot be taken.

    ``kind`` says why: ``missing`` (no such item, decision or label), ``taken`` (another reviewer has it), ``decided``
    (already, or already taken back), ``undecided`` (a second opinion without a first one), ``other`` (not theirs).
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class MissingExtra(InputError):  # noqa: N818 - reads as what it is: an extra that is missing
    """A part of kramar that this command needs is not installed."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the '{extra}' extra: pip install 'kramar[{extra}]'")


class FailedError(KramarError):
    """The work could not be done although the input was right."""


class OutputError(FailedError):
    """A file could not be written (disk full, no permission)."""


class TrainingError(FailedError):
    """A training came to nothing: its loss is no number any more, or it takes more memory than there is."""


class ExportError(FailedError):
    """The exported file does not give the scores of the model that it was exported from."""
