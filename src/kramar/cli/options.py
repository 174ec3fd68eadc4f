"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Columns = Annotated[
    str, typer.Option("--columns", help="Names of the table's columns, such as image=photo,label=group.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Fail (exit 2) where anything has to be left out.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
