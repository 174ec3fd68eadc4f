"""Names of a table's columns: those that the user gives, and what is said where a table lacks them."""

from pathlib import Path

import pytest

from kramar.data.columns import COLUMNS, choose, parse_columns
from kramar.errors import DataError, InputError


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", {}),
        ("image=photo", {"image": "photo"}),
        (" image = photo , label = the group ,", {"image": "photo", "label": "the group"}),
        ("label=a=b", {"label": "a=b"}),
        ("image=фото,category=c,product=p,split=s", {"image": "фото", "category": "c", "product": "p", "split": "s"}),
    ],
)
def test_columns(text: str, columns: dict[str, str]) -> None:
    assert parse_columns(text) == columns


@pytest.mark.parametrize("text", ["image", "image=", "=photo", "photo=image", "image=photo,group"])
def test_other_columns_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="--columns: expected pairs such as image=photo,label=group"):
        parse_columns(text)


def test_every_column_may_be_named() -> None:
    assert parse_columns(",".join(f"{name}={name}" for name in COLUMNS)) == {name: name for name in COLUMNS}


@pytest.mark.parametrize(
    ("columns", "found", "said"),
    [
        # kramar's own name is not there: whatever is may be it, the likest first.
        ({}, ["photo", "label"], "found 'photo', 'label'; name yours with --columns image=photo"),
        ({}, ["image", "price", "labels"], "name yours with --columns label=labels"),
        ({}, ["image"], "name yours with --columns label=COLUMN"),
        ({}, [], "found none; name yours with --columns image=COLUMN,label=COLUMN"),
        # A name that the user gave: only a slip of it can be put right.
        ({"label": "groups"}, ["image", "group"], "name yours with --columns label=group"),
        ({"image": "нет"}, ["photo", "label", "price"], "name one of these with --columns image=COLUMN"),
        ({"image": "нет"}, ["image", "label"], "the table has kramar's own names: leave --columns away"),
        ({"image": "нет", "label": "group"}, ["image", "group"], "name yours with --columns label=group"),
    ],
)
def test_advice_names_columns_that_the_table_has(columns: dict[str, str], found: list[str], said: str) -> None:
    with pytest.raises(DataError) as raised:
        choose(Path("shop.csv"), columns, ("image", "label"), found)
    assert str(raised.value).endswith(said)


def test_a_name_that_kramar_does_not_know() -> None:
    with pytest.raises(DataError, match=r"columns: expected names of image, label, .*, found 'photo'"):
        choose(Path("shop.csv"), {"photo": "image"}, ("image", "label"), ["image", "label"])
