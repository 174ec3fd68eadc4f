"""What all tests share: the markers ``gpu`` and ``real``, a cache of their own, and no silent skips in CI.

With ``CI=true`` in the environment a test that is skipped makes the run fail, unless it is marked ``gpu``: a
check that no machine runs is no check.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from browser import Opens
    from kramar import Run
    from kramar.models.engines import Converted
    from model_files import Made

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"  # real photos and weights, beside the project and never in it


class Skips:
    """Collects the skips that CI does not allow, and fails the run for them."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skipped test; expected failures are reported as skips too, and are none."""
        if report.skipped and not hasattr(report, "wasxfail") and "gpu" not in report.keywords:
            self.found.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that was skipped whole."""
        if report.skipped:
            self.found.append(report.nodeid)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn success into failure."""
        if self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say why the run failed."""
        if self.found:
            terminalreporter.section("skipped in CI, which only tests marked gpu may be", red=True)
            for nodeid in self.found:
                terminalreporter.line(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers and, in CI, the watch over skips."""
    # Exporting makes objects by the million; looking through all of them each time takes a seventh of the suite.
    gc.set_threshold(100_000, 50, 100)
    config.addinivalue_line("markers", "gpu: needs a CUDA device; skipped where there is none")
    config.addinivalue_line("markers", "real: needs the photos in ../shared/data (all of tests/real)")
    if hasattr(config, "workerinput"):
        share_cores(config.workerinput)
    elif os.environ.get("CI") == "true":
        config.pluginmanager.register(Skips(), "skips")


def share_cores(worker: Mapping[str, Any]) -> None:
    """Give a worker, and what it starts, cores of its own: threads of two on the same core wait for each other."""
    if hasattr(os, "sched_setaffinity"):
        number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        own = sorted(os.sched_getaffinity(0))[number::count]
        if own:
            os.sched_setaffinity(0, own)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests in ``tests/real``, and skip what this machine cannot run."""
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "real"):
            item.add_marker(pytest.mark.real)
    if not (SHARED / "data").is_dir():
        skip(items, "real", "needs real photos in ../shared/data, beside the project; there are none")
    if any(item.get_closest_marker("gpu") for item in items):
        import torch

        if not torch.cuda.is_available():
            skip(items, "gpu", "needs a CUDA device; there is none")


def skip(items: list[pytest.Item], marker: str, reason: str) -> None:
    """Skip the items that have ``marker``."""
    for item in items:
        if item.get_closest_marker(marker):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real photos (``data``) and weights (``weights``), for tests marked ``real``."""
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests out of the user's feature cache; workers share the converted backbone."""
    cache, shared = tmp_path_factory.mktemp("kramar-cache"), tmp_path_factory.getbasetemp().parent
    if "PYTEST_XDIST_WORKER" in os.environ:
        (shared / "backbones").mkdir(exist_ok=True)
        (cache / "backbones").symlink_to(shared / "backbones")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRAMAR_CACHE", str(cache))
        yield


@pytest.fixture(scope="session")
def converted(own_cache: None) -> Converted:
    """The default backbone as ONNX, converted once a session. Tests read it only."""
    from kramar.config import DEFAULT_BACKBONE
    from kramar.models import backbones, engines
    from kramar.progress import Silent

    return engines.prepare(backbones.find(DEFAULT_BACKBONE), Silent())


@pytest.fixture(scope="session")
def made(converted: Converted, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model file with a random head. Tests read it only."""
    from model_files import make

    return make(converted.path, tmp_path_factory.mktemp("made") / "model.onnx")


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three class folders with twenty drawn photos each. Tests read it only."""
    from products import put_folder

    return put_folder(tmp_path_factory.mktemp("data") / "shop", 20)


@pytest.fixture(scope="session")
def trained(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run on ``shop``, of the first rung. Tests read it only."""
    import kramar

    return kramar.train(shop, tmp_path_factory.mktemp("runs") / "shop", rungs="head")


@pytest.fixture(scope="module")
def page_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a few hundred bytes that has all decisions and heat maps. Tests read it only."""
    from served import model_file

    return model_file(tmp_path_factory.mktemp("page") / "model.onnx", groups=True, maps=True)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser. Not for the whole session: it keeps an event loop, beside which tests could run none of their own."""
    import browser

    with browser.chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def page_address(page_model: Path) -> Iterator[str]:
    """A service of that model, behind a port of this machine."""
    from browser import LIMITS
    from kramar.serving.settings import ServeConfig
    from served import listening

    with listening(ServeConfig(page_model, limits=LIMITS)) as (host, port):
        yield f"http://{host}:{port}/"


@pytest.fixture
def opens(chromium: Browser, page_address: str) -> Iterator[Opens]:
    """Opens that service's page, or another's; at the end, nothing may have gone wrong in any of them."""
    from browser import opening

    with opening(chromium, page_address) as opens:
        yield opens


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On a busy machine torch's threads wait for each other longer than small networks take."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of the tests' own; skipped where there is none."""
    from postgres import missing, server

    if why := missing():
        pytest.skip(why)
    with server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'review.sqlite'}"
    from postgres import emptied

    return emptied(request.getfixturevalue("postgres"))
