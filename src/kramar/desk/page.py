"""The desk's page: files of its own, and those that it shares with the service's."""

from __future__ import annotations

from pathlib import Path

from kramar.serving import page

SITE = Path(__file__).with_name("site")
_SHARED = (
    "announcing.js",
    "asking.js",
    "elements.js",
    "icon.svg",
    "key_form.js",
    "language.js",
    "naming.js",
    "style.css",
)


def files() -> list[Path]:
    """All of them; `serving.page` answers them."""
    return [*(page.SITE / name for name in _SHARED), *SITE.iterdir()]
