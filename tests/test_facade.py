"""What ``import kramar`` gives, and what it does not cost."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
import types

import pytest

import kramar

HEAVY = ("numpy", "PIL", "onnxruntime", "pydantic", "rich", "torch", "sklearn", "onnx", "openvino", "pyarrow")


@pytest.mark.parametrize("name", kramar.__all__)
def test_every_name_resolves(name: str) -> None:
    assert getattr(kramar, name) is not None
    assert name in dir(kramar)


def test_all_is_sorted_and_whole() -> None:
    assert kramar.__all__ == sorted(kramar.__all__)
    assert set(kramar.__all__) == {*kramar._HOMES, "__version__"}


def test_errors_are_a_tree() -> None:
    errors = [getattr(kramar, name) for name in kramar.__all__ if isinstance(getattr(kramar, name), type)]
    for error in errors:
        if issubclass(error, Exception):
            assert issubclass(error, kramar.KramarError)
            assert error.exit_code == (2 if issubclass(error, kramar.InputError) else 1)


def test_other_names_are_none() -> None:
    with pytest.raises(AttributeError, match="module 'kramar' has no attribute 'trian'"):
        kramar.trian  # noqa: B018


def test_import_is_light() -> None:
    code = f"import sys, kramar; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_line_opens_no_heavy_room_to_say_its_version() -> None:
    code = (
        "import sys\nfrom kramar import cli\ntry:\n    cli.run(['--version'])\nexcept SystemExit:\n"
        "    print([name for name in ('numpy', 'onnxruntime', 'torch', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_functions_stay_functions_whatever_is_imported() -> None:
    for module in pkgutil.walk_packages(kramar.__path__, "kramar."):
        if module.name != "kramar.__main__":
            importlib.import_module(module.name)
    for name in ("train", "evaluate", "classify", "learn", "load", "serve"):
        assert isinstance(getattr(kramar, name), types.FunctionType), name
