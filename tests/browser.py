"""A browser for the tests: Debian's Chromium, which may talk to the service and to nobody else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; there is none")

# axe-core's file axe.min.js, which .ci/run fetches: this project has nothing else from npm.
AXE = os.environ.get("KRAMAR_AXE", "")
needs_axe = pytest.mark.skipif(not AXE, reason="needs axe-core's axe.min.js, named by KRAMAR_AXE")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Chromium, as long as the block lasts."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page of which all that goes wrong is remembered: errors, and requests to others than the service."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._hear)
        self.page.on(
            "request",
            lambda asked: asked.url.startswith((address, "blob:")) or self.elsewhere.append(asked.url),
        )

    def _hear(self, said: ConsoleMessage) -> None:
        """Remember an error, unless it is that the service refused, or that Playwright's own scripts, which come from
        nowhere, are not what the page's policy allows."""
        refused = "the server responded with a status of" in said.text
        if said.type in ("error", "warning") and not refused and said.location["url"]:
            self.errors.append(said.text)


def complaints(page: Page) -> list[str]:
    """What axe-core finds serious or critical in the page as it is."""
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found: dict[str, Any] = page.evaluate("axe.run()")
    return [
        f"{one['id']}: {node['html'][:160]} {node['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
