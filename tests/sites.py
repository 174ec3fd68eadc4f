"""What every page of ours must be that is made of files: whole, from its own service, the same in both languages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from pages import Reader


def strings(module: str) -> dict[str, dict[str, str | dict[str, str]]]:
    """The table of a module of texts, whose JavaScript is JSON but for quotes around keys, comments and last commas."""
    text = module.partition("export const STRINGS = ")[2].rstrip().removesuffix(";")
    text = re.sub(r"(?<=[{,])(\s*)(\w+):(?= [\"{])", r'\1"\2":', text)
    found: dict[str, dict[str, str | dict[str, str]]] = json.loads(re.sub(r",(\s*})", r"\1", text))
    return found


def speaks_both_languages(module: str) -> None:
    """Both languages say the same things, with all forms that their numbers have."""
    english, ukrainian = strings(module)["en"], strings(module)["uk"]
    assert list(english) == list(ukrainian)
    for key in english:
        forms = [{"": text} if isinstance(text, str) else text for text in (english[key], ukrainian[key])]
        blanks = [{name for text in one.values() for name in re.findall(r"\{(\w+)\}", text)} for one in forms]
        assert blanks[0] == blanks[1], key
        # Those of Intl.PluralRules: all that a language has, or one text for all numbers.
        assert set(forms[0]) in ({""}, {"one", "other"}), key
        assert set(forms[1]) in ({""}, {"one", "few", "many", "other"}), key
        assert all(text.strip() for one in forms for text in one.values()), key


def whole_site(document: str, modules: Mapping[str, str], loads: set[str], made: frozenset[str] = frozenset()) -> None:
    """The document loads only what is there, has what its modules look for, and says nothing inline.

    ``made`` are elements that modules make themselves.
    """
    page = Reader(document)
    assert document.startswith("<!DOCTYPE html>")
    loaded = [one["src"] for one in page.all("script")] + [one["href"] for one in page.all("link")]
    assert {path.removeprefix("page/") for path in loaded} == loads
    for tag, attributes in page.tags:
        assert "style" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    asked = {found for text in modules.values() for found in re.findall(r'\bfind\("([^"]+)"\)', text)}
    assert asked <= set(ids) | made
    # Relative, so that a proxy may put all of it into a folder.
    assert not re.search(r"""(src|href)="/|(fetch|ask|read|change)\(["'`]/""", document + "".join(modules.values()))
    assert not re.search(r"https?://(?!www\.w3\.org)", document + "".join(modules.values()))
    imported = {found for text in modules.values() for found in re.findall(r'from "\./([^"]+)"', text)}
    assert imported | {"main.js"} == set(modules)
