"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kramar.config import whole_number
from kramar.study.settings import TRANSFERS

WHOLE = "<int>"

Data = Annotated[Path, typer.Argument(help="A folder of class folders, or a CSV, JSONL or Parquet table.")]
Transfer = Annotated[
    str, typer.Option(help=f"How weights are used: {' or '.join(TRANSFERS)} (only added layers learn, or all).")
]
Size = Annotated[
    str | None, typer.Option(metavar=WHOLE, help="Side of the input, in pixels [default: the architecture's own].")
]
Epochs = Annotated[
    str | None, typer.Option(metavar=WHOLE, help="Passes over the training photos [default: the recipe's own].")
]
CacheSize = Annotated[
    str, typer.Option(metavar="<size>", help="Views that are kept in the cache take at most so much, such as 2GB.")
]
Precision = Annotated[
    str,
    typer.Option(metavar="<share>", help="Of the answers that need no person, the share that is promised to be right."),
]
ClassPrecision = Annotated[
    bool,
    typer.Option(
        "--class-precision",
        help="Promise the precision of each category's answers alone; where photos do not show it, a person sees them.",
    ),
]
ClassSets = Annotated[
    bool,
    typer.Option("--class-sets", help="Promise the coverage of sets for each category that has photos enough."),
]
Columns = Annotated[
    str, typer.Option("--columns", help="Names of the table's columns, such as image=photo,label=group.")
]
Database = Annotated[
    str | None,
    typer.Option(
        metavar="<url>",
        help="The review queue: a file, sqlite:///FILE or postgresql://... [default: review.sqlite beside the model].",
    ),
]
SpotCheck = Annotated[
    str | None,
    typer.Option(metavar="<share>", help="And this share of the photos that need no person, such as 0.01."),
]
Host = Annotated[
    str, typer.Option(metavar="<address>", help="Where to listen; other than this machine needs --api-key-file.")
]
Port = Annotated[str, typer.Option(metavar=WHOLE, help="0 takes a free one.")]
ApiKeyFile = Annotated[
    Path | None, typer.Option(help="The API keys that are let in: NAME:SHA256 a line (docs/serve.md).")
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail (exit 2) where anything has to be left out.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def whole(given: str | None, option: str) -> int | None:
    """The number from 1 that was given, if one was. Raises InputError."""
    return None if given is None else whole_number(given, option, 1)
