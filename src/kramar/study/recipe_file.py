"""A recipe in a file: what ``kramar tune`` leaves as ``best.toml`` and ``--config`` takes."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from kramar.errors import InputError
from kramar.files import write_text
from kramar.models.networks import ACTIVATIONS
from kramar.study.settings import REGIMES, Setting
from kramar.training.augment import POLICIES
from kramar.training.recipe import Recipe

_RECIPE = TypeAdapter(Recipe)


@dataclass(frozen=True, slots=True)
class RecipeFile:
    """What a recipe is for, and what it is.

    Attributes:
        recipe: the entries that the file has, by the names of `Recipe`.
    """

    path: str
    architecture: str
    regime: str
    transfer: str
    recipe: dict[str, Any]

    def fits(self, setting: Setting) -> bool:
        """Whether ``setting`` is what the recipe is for."""
        return (self.architecture, self.regime, self.transfer) == (
            setting.architecture.name,
            setting.regime,
            setting.transfer,
        )

    def __str__(self) -> str:
        return f"{self.path} (for {self.architecture}, {self.regime}, transfer {self.transfer})"


def read(path: Path) -> RecipeFile:
    """The recipe in ``path``. Raises InputError, with the entry that is wrong."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"--config: {path} is not there; expected a best.toml of kramar tune") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"--config: {path} cannot be read as TOML: {error}") from None
    for name in ("architecture", "regime", "transfer"):
        if not isinstance(document.get(name), str):
            raise InputError(f'--config: {path}: expected {name} = "...", found {document.get(name, "nothing")!r}')
    if document["regime"] not in REGIMES:
        raise InputError(f"--config: {path}: regime is {', '.join(REGIMES)}, found {document['regime']!r}")
    recipe = document.get("recipe", {})
    known = {field.name for field in dataclasses.fields(Recipe)}
    if not isinstance(recipe, dict) or recipe.keys() - known:
        strange = sorted(recipe.keys() - known) if isinstance(recipe, dict) else recipe
        raise InputError(f"--config: {path}: [recipe] has {', '.join(sorted(known))}; found {strange}")
    try:
        checked = dataclasses.asdict(_RECIPE.validate_python(recipe))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"--config: {path}: {where}: {first['msg'].lower()}, found {first['input']!r}") from None
    for name, choices in (("activation", ACTIVATIONS), ("augment", POLICIES)):
        if recipe.get(name) and recipe[name] not in choices:
            raise InputError(f"--config: {path}: {name} is one of {', '.join(choices)}, found {recipe[name]!r}")
    own = {name: checked[name] for name in recipe}
    return RecipeFile(str(path), document["architecture"], document["regime"], document["transfer"], own)


def write(setting: Setting, path: Path) -> None:
    """Leave all of the setting's recipe in ``path``. Raises OutputError."""
    lines = [
        f"architecture = {_toml(setting.architecture.name)}",
        f"regime = {_toml(setting.regime)}",
        f"transfer = {_toml(setting.transfer)}",
        "",
        "[recipe]",
        *(f"{name} = {_toml(value)}" for name, value in dataclasses.asdict(setting.recipe).items()),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _toml(value: object) -> str:
    # JSON's numbers, strings and arrays are TOML's too.
    return json.dumps(value)
