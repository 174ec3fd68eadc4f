import inspect

import pytest

from kramar import errors
from kramar.errors import (
    DataError,
    ExportError,
    FailedError,
    InputError,
    KramarError,
    MissingExtra,
    ModelFileError,
    OutputError,
    PhotoError,
    RequestError,
    RunFolderError,
)

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (KramarError, 1),
        (InputError, 2),
        (DataError, 2),
        (PhotoError, 2),
        (ModelFileError, 2),
        (RunFolderError, 2),
        (RequestError, 2),
        (MissingExtra, 2),
        (FailedError, 1),
        (OutputError, 1),
        (ExportError, 1),
    ],
)
def test_exit_codes(kind: type[KramarError], code: int) -> None:
    assert kind.exit_code == code


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_of_the_tree_and_in_its_drawing(kind: type[BaseException]) -> None:
    assert issubclass(kind, KramarError)
    assert kind.__name__ in (errors.__doc__ or "")


def test_the_drawing_shows_nothing_else() -> None:
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error") or word == "MissingExtra"}
    assert drawn == {kind.__name__ for kind in ALL}


def test_a_photo_error_says_its_kind() -> None:
    error = PhotoError("too_large", "shrink it")
    assert (error.kind, str(error)) == ("too_large", "shrink it")
    assert isinstance(error, DataError)


def test_a_missing_extra_says_how_to_install_it() -> None:
    assert str(MissingExtra("train", "training")) == "training needs the 'train' extra: pip install 'kramar[train]'"
