import json
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest

from drawn import Told
from kramar.errors import DataError, OutputError, RunFolderError
from kramar.jobs import run as runs
from kramar.jobs.run import Plan, RunFolder, finished, opened
from kramar.models.engines import Choice
from kramar.progress import Progress, Silent
from report_records import shop

OPTIONS = {"--budget": "600s", "--seed": "0"}
RECORD = shop(["Apple", "Pear"])


class Clock:
    """A clock that goes on only when it is told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def open_run(path: Path, listener: Progress | None = None) -> AbstractContextManager[RunFolder]:
    return opened(path, OPTIONS, "photos", "f" * 32, listener or Silent())


def plan(path: Path) -> Plan:
    return Plan.model_validate_json((path / "plan.json").read_text(encoding="utf-8"))


def finish(path: Path) -> None:
    with open_run(path) as run:
        for name in ("model.onnx", "report.html", "manifest.parquet"):
            (path / name).touch()
        run.finish(RECORD)


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


# Plans and choices


def test_a_new_run_writes_its_plan(tmp_path: Path) -> None:
    with open_run(tmp_path / "a" / "run") as run:
        assert plan(run.path) == run.plan
    found = json.loads((tmp_path / "a" / "run" / "plan.json").read_text(encoding="utf-8"))
    assert found["options"] == OPTIONS
    assert (found["source"], found["fingerprint"]) == ("photos", "f" * 32)
    assert (found["spent"], found["choice"], found["photos"]) == (0.0, None, None)
    assert found["started"].startswith("20")


def test_choices_are_recorded_as_they_are_made_and_replayed(tmp_path: Path) -> None:
    choice = Choice(engine="openvino", version="1", rates={"openvino": 160.0})
    with open_run(tmp_path) as run:
        run.choose(choice=choice)
        assert plan(tmp_path).choice == choice
        run.choose(photos=400)
        assert (plan(tmp_path).choice, plan(tmp_path).photos) == (choice, 400)
        started = run.plan.started
    with open_run(tmp_path) as run:
        assert (run.plan.choice, run.plan.photos, run.plan.started) == (choice, 400, started)


# Time


def test_spent_time_adds_up_over_resumes(tmp_path: Path, clock: Clock) -> None:
    with open_run(tmp_path) as run:
        clock.now += 5
        assert run.elapsed == 5
        with run.room("features"):
            clock.now += 20
        assert (run.elapsed, plan(tmp_path).spent) == (25, 25)
        clock.now += 3
        assert run.elapsed == 28
    clock.now += 1000  # nobody was working
    with open_run(tmp_path) as run:
        assert run.elapsed == 25  # the three seconds after the last room were not saved
        with run.room("train"):
            clock.now += 10
        assert run.elapsed == plan(tmp_path).spent == 35
        assert run.rooms == {"train": 10}


def test_a_room_that_is_entered_twice_adds_up(tmp_path: Path, clock: Clock) -> None:
    with open_run(tmp_path) as run:
        for took in (2, 3):
            with run.room("features"):
                clock.now += took
        assert run.rooms == {"features": 5}
        log = (tmp_path / "run.log").read_text(encoding="utf-8")
        assert "features: 2.0 s" in log
        assert "features: 5.0 s" in log


def test_time_is_saved_within_a_long_stage(tmp_path: Path, clock: Clock) -> None:
    told = Told()
    with open_run(tmp_path, told) as run, run.stage("Looking", 100) as advance:
        for second in range(1, 11):
            clock.now += 1
            advance(10)
            assert second - plan(tmp_path).spent <= 2
        assert run.elapsed == 10
    assert told.stages == [["Looking", 100, 100]]


# One process at a time, and what it leaves


def test_a_second_process_is_refused_while_the_first_works(tmp_path: Path) -> None:
    with open_run(tmp_path):
        second = open_run(tmp_path)
        with pytest.raises(RunFolderError, match="another kramar is working in it"):
            second.__enter__()
    with open_run(tmp_path):
        pass


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    with open_run(tmp_path):
        pass
    (tmp_path / "models").mkdir()
    for name in (".plan.json.0a1b2c3d.tmp", "models/.head.onnx.0a1b2c3d.tmp", "models/head.onnx"):
        (tmp_path / name).touch()
    with open_run(tmp_path):
        assert {"plan.json", "models"} <= names(tmp_path)
        assert not list(tmp_path.rglob("*.tmp"))
        assert (tmp_path / "models" / "head.onnx").is_file()


def test_what_is_said_is_logged_too(tmp_path: Path) -> None:
    told = Told()
    with open_run(tmp_path, told) as run:
        run.say("Увага: мало фото")
    log = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert told.said == ["Увага: мало фото"]
    assert log.endswith(" Увага: мало фото\n")


def test_a_log_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "run.log").mkdir()
    with open_run(tmp_path) as run, pytest.raises(OutputError, match=r"run\.log"):
        run.say("Hello")


def test_a_place_that_takes_no_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    run = open_run(tmp_path / "file" / "run")
    with pytest.raises(OutputError, match="a file is where a folder was expected"):
        run.__enter__()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_new_run_of_wrong_input_leaves_the_place_free(tmp_path: Path, is_new: bool) -> None:
    path = tmp_path / "run"
    if not is_new:
        with open_run(path):
            pass

    def work() -> None:
        with open_run(path) as run:
            run.say("Hello")
            raise DataError("none of the photos can be read")

    with pytest.raises(DataError):
        work()
    assert path.exists() is not is_new
    assert finished(path, OPTIONS, "f" * 32) is None


def test_a_new_run_that_has_made_something_keeps_its_plan_whatever_ends_it(tmp_path: Path) -> None:
    def work() -> None:
        with open_run(tmp_path / "run") as run:
            run.choose(photos=7)
            (run.path / "models").mkdir()
            (run.path / "models" / "head.onnx").touch()
            raise DataError("a photo cannot be read")

    with pytest.raises(DataError):
        work()
    with open_run(tmp_path / "run") as run:
        assert run.plan.photos == 7


def test_names_that_no_system_takes_are_no_bug(tmp_path: Path) -> None:
    assert runs.name_of(Path("x" * 300)) == "x" * 300
    with pytest.raises(OutputError):
        runs.holds(tmp_path / ("x" * 300), OPTIONS, "f" * 32, ())


@pytest.mark.parametrize("error", [OutputError("the disk is full"), KeyboardInterrupt(), ValueError("a bug")])
def test_an_interrupted_run_can_go_on(tmp_path: Path, error: BaseException) -> None:
    def work() -> None:
        with open_run(tmp_path) as run:
            run.choose(photos=7)
            raise error

    with pytest.raises(type(error)):
        work()
    with open_run(tmp_path) as run:
        assert run.plan.photos == 7


# Finished runs and refused folders


def test_a_finished_run_is_found(tmp_path: Path) -> None:
    finish(tmp_path)
    found = finished(tmp_path, OPTIONS, "f" * 32)
    assert found is not None
    assert found.was_finished
    assert found.record == RECORD
    assert found.metrics is found.record.metrics
    assert (found.path, found.report) == (tmp_path, tmp_path / "report.html")


def test_run_json_is_readable_json(tmp_path: Path) -> None:
    finish(tmp_path)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["data"]["classes"] == 2


@pytest.mark.parametrize("missing", ["run.json", "model.onnx", "report.html", "manifest.parquet"])
def test_a_run_without_one_of_its_files_is_not_finished(tmp_path: Path, missing: str) -> None:
    finish(tmp_path)
    (tmp_path / missing).unlink()
    assert finished(tmp_path, OPTIONS, "f" * 32) is None


def test_a_record_of_another_kramar_is_written_anew(tmp_path: Path) -> None:
    finish(tmp_path)
    (tmp_path / "run.json").write_text('{"kramar": "0.0.1"}', encoding="utf-8")
    assert finished(tmp_path, OPTIONS, "f" * 32) is None


def test_no_folder_or_an_empty_one_is_no_run(tmp_path: Path) -> None:
    assert finished(tmp_path / "new", OPTIONS, "f" * 32) is None
    assert finished(tmp_path, OPTIONS, "f" * 32) is None
    (tmp_path / ".lock").touch()
    assert finished(tmp_path, OPTIONS, "f" * 32) is None


def test_a_started_run_is_not_finished(tmp_path: Path) -> None:
    with open_run(tmp_path):
        pass
    assert finished(tmp_path, OPTIONS, "f" * 32) is None


def refusal(path: Path, options: dict[str, str] = OPTIONS, fingerprint: str = "f" * 32) -> str:
    with pytest.raises(RunFolderError) as raised:
        finished(path, options, fingerprint)
    assert "use a new --out" in str(raised.value)
    return str(raised.value)


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    assert "found other files" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"\xff\xfe", b"[]"])
def test_a_plan_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan.json").write_bytes(content)
    assert "plan.json: not readable as a run's plan" in refusal(tmp_path)


def test_other_data_is_refused(tmp_path: Path) -> None:
    finish(tmp_path)
    assert "holds a run of other data (photos, or the photos have changed since)" in refusal(
        tmp_path, OPTIONS, "e" * 32
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({**OPTIONS, "--seed": "1"}, "with --seed 0, not 1"),
        ({**OPTIONS, "--budget": "60s"}, "with --budget 600s, not 60s"),
    ],
)
def test_other_options_are_refused_by_name(tmp_path: Path, options: dict[str, str], said: str) -> None:
    finish(tmp_path)
    assert said in refusal(tmp_path, options)
    # Another seed splits the same photos into other data: the seed is what the user has to know of.
    assert said in refusal(tmp_path, options, "e" * 32)


@pytest.mark.parametrize("option", ["--seed", "--teacher"])
def test_an_option_that_only_one_side_knows_is_a_difference(tmp_path: Path, option: str) -> None:
    finish(tmp_path)
    options = {name: value for name, value in OPTIONS.items() if name != option}
    if option not in OPTIONS:
        options[option] = "resnet"
    assert option in refusal(tmp_path, options)


def test_a_file_in_the_runs_place_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(OutputError, match="a file is where the run folder should be"):
        finished(tmp_path / "run", OPTIONS, "f" * 32)
