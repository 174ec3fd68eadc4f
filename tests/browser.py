"""A browser for the tests: Debian's Chromium, whose page may talk to its service and to nobody else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, FilePayload, Page, expect, sync_playwright

from kramar.serving.settings import Limits
from served import PHOTOS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; there is none")

# axe-core's file axe.min.js, which .ci/run fetches: this project has nothing else from npm.
AXE = os.environ.get("KRAMAR_AXE", "")
needs_axe = pytest.mark.skipif(not AXE, reason="needs axe-core's axe.min.js, named by KRAMAR_AXE")

# Milliseconds in which what is expected comes, on a machine whose disk and cores other tests keep busy.
PATIENCE = 30_000
expect.set_options(timeout=PATIENCE)

LIMITS = Limits(body=200_000)
# Photos of all decisions: sure, a group only, to check, unknown.
SOME = (2, 8, 0, 9)


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


Opens = Callable[..., Watched]


@contextmanager
def opening(browser: Browser, address: str) -> Iterator[Opens]:
    """Opens the page as a browser with the given settings would; at the end, nothing may have gone wrong."""
    opened = []

    def page(at: str = address, **settings: object) -> Watched:
        wide = {"width": 1280, "height": 800}
        context = browser.new_context(**{"locale": "en-GB", "viewport": wide, "reduced_motion": "reduce"} | settings)
        watched = Watched(context, at)
        opened.append(watched)
        watched.page.set_default_timeout(PATIENCE)
        watched.page.goto(at)
        return watched

    yield page
    for watched in opened:
        watched.page.context.close()
        wrong = [*watched.errors, *watched.elsewhere]
        assert not wrong, wrong


def named(*numbers: int) -> list[FilePayload]:
    """Some of PHOTOS, as files that can be picked."""
    return [{"name": f"{number}.png", "mimeType": "image/png", "buffer": PHOTOS[number]} for number in numbers]


def pick(page: Page, *files: FilePayload) -> None:
    """Choose files, and wait for their answers."""
    page.set_input_files("#files", list(files))
    finished(page)


def finished(page: Page) -> None:
    """Wait until all photos are answered."""
    expect(page.locator("#rows li")).not_to_have_count(0)
    expect(page.locator("#rows li[data-kind=waiting]")).to_have_count(0)
    expect(page.locator("#progress.running")).to_have_count(0)
    # It comes a moment after its rows, and what is hidden takes no focus.
    expect(page.locator("#results")).to_be_visible()


def rows(page: Page) -> list[str]:
    """The rows' decisions and titles, as they are shown."""
    return [
        f"{one.query_selector('.badge').text_content()}: {one.query_selector('h3').text_content()}"  # type: ignore[union-attr]
        for one in page.query_selector_all("#rows li")
    ]


def hold(page: Page, *files: FilePayload) -> None:
    """Put files where a script of the page would find what a hand holds: a paste or a drop cannot be had else."""
    page.evaluate(
        """(files) => {
          globalThis.held = new DataTransfer();
          for (const { name, type, data } of files)
            held.items.add(new File([Uint8Array.from(data)], name, { type }));
        }""",
        [{"name": one["name"], "type": one["mimeType"], "data": list(one["buffer"])} for one in files],
    )
