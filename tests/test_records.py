import json

import PIL
import pytest
from pydantic import ValidationError

from kramar.evaluation.metrics import wilson
from kramar.records import (
    CARD_SCHEMA,
    ClassCard,
    Estimate,
    ModelCard,
    Prediction,
    Ranked,
    Record,
    ResizeRule,
    RunRecord,
    writable,
)
from report_records import decisions, shop

# DESIGN.md, "Stable keys".
RUN = {
    "": "kramar command seed machine data model metrics ladder decisions seconds rates peak_memory_bytes",
    "data": "photos classes fingerprint left_out split",
    "data.left_out": "unreadable",
    "data.split": "train val test",
    "model": "file bytes backbone rung storage parameters milliseconds",
    "metrics": "test val",
    "metrics.test": "accuracy top5 balanced_accuracy macro_f1 log_loss calibration_error",
    "metrics.test.accuracy": "value low high n",
    "metrics.test.top5": "value low high n",
    "metrics.val.calibration_error": "value low high n",
    "ladder.0": "rung seconds val_accuracy bytes kept why",
    "decisions": "precision_target coverage precision",
    "decisions.coverage": "value low high n",
    "seconds": "total rooms",
}


@pytest.fixture(scope="module")
def record() -> RunRecord:
    return shop(["Apple", "Pear", "Fig", "Plum"], decisions=decisions(100))


@pytest.mark.parametrize("path", RUN)
def test_run_json_has_its_stable_keys(record: RunRecord, path: str) -> None:
    found = json.loads(record.model_dump_json())
    for step in filter(None, path.split(".")):
        found = found[int(step) if step.isdigit() else step]
    assert set(RUN[path].split()) <= found.keys()


def test_a_record_survives_json(record: RunRecord) -> None:
    assert RunRecord.model_validate_json(record.model_dump_json()) == record


def test_keys_of_a_newer_kramar_are_ignored(record: RunRecord) -> None:
    document = json.loads(record.model_dump_json()) | {"certificate": {"signed": True}}
    assert RunRecord.model_validate(document) == record


def test_records_are_frozen(record: RunRecord) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        record.seed = 1  # type: ignore[misc]


def test_every_record_is_frozen() -> None:
    kinds = [Record]
    for kind in kinds:
        assert kind.model_config["frozen"]
        kinds += kind.__subclasses__()
    assert len(kinds) > 10


def test_a_missing_key_is_named(record: RunRecord) -> None:
    document = json.loads(record.model_dump_json())
    del document["model"]["bytes"]
    with pytest.raises(ValidationError, match=r"model\.bytes"):
        RunRecord.model_validate(document)


def test_an_estimate_in_percent() -> None:
    estimate = Estimate(value=0.7421, low=0.7244, high=0.7589, n=2485)
    assert estimate.percent() == "74.2% (95% interval 72.4 to 75.9, n = 2,485)"


def test_the_resize_key_changes_with_whatever_changes_pixels() -> None:
    rule = ResizeRule(size=224, crop=0.875, filter="bicubic")
    assert rule.key == f"224px-crop0.875-bicubic-pillow{PIL.__version__}"
    changes: list[dict[str, object]] = [{"size": 240}, {"crop": 1.0}, {"filter": "bilinear"}]
    keys = [rule.key, *(rule.model_copy(update=change).key for change in changes)]
    assert len(set(keys)) == 4


def test_a_model_card_carries_its_schema() -> None:
    card = ModelCard(
        kramar="0.1.0",
        classes=[ClassCard(label="Apple", category="Fruit/Apple")],
        resize=ResizeRule(size=224, crop=0.875, filter="bicubic"),
        temperature=1.0,
        backbone="b",
        rung="head",
        storage="float32",
        metrics={},
        data_fingerprint="f",
        seed=0,
        split={"train": 1},
        weights_source="s",
        weights_licence="l",
    )
    document = json.loads(card.model_dump_json())
    assert document["schema_version"] == CARD_SCHEMA == 1
    keys = "classes resize temperature backbone rung storage metrics data_fingerprint split kramar"
    assert {*keys.split(), "weights_source", "weights_licence"} <= document.keys()
    assert document["classes"] == [{"label": "Apple", "category": "Fruit/Apple"}]
    assert document["resize"] == {"size": 224, "crop": 0.875, "filter": "bicubic"}


@pytest.mark.parametrize(
    ("text", "written"),
    [("a.jpg", "a.jpg"), ("🍎 яблуко\n", "🍎 яблуко\n"), ("caf\udce9.jpg", "caf\\udce9.jpg"), ("\ud83c!", "\\ud83c!")],
)
def test_text_can_be_written_to_any_file(text: str, written: str) -> None:
    assert writable(text) == written
    assert writable(written) == written
    made = Prediction(image=text, set=[text], top=[Ranked(label=text, probability=0.5)])
    assert (made.image, made.set, made.top[0].label) == (written, [written], written)
    assert Prediction.model_validate_json(made.model_dump_json()) == made


def test_keys_are_text_too() -> None:
    class Counted(Record):
        counts: dict[str, dict[str, int]]

    assert Counted(counts={"caf\udce9": {"\udce9": 1}}).counts == {"caf\\udce9": {"\\udce9": 1}}


def test_a_prediction_has_the_columns_of_classify() -> None:
    prediction = Prediction(image="a.jpg", label="Apple", probability=0.5, top=[Ranked(label="Apple", probability=0.5)])
    document = json.loads(prediction.model_dump_json())
    columns = "image label probability category decision set unknown_score error top"
    assert set(document) == set(columns.split())
    assert document["top"] == [{"label": "Apple", "probability": 0.5}]
    failed = Prediction(image="b.jpg", error="broken")
    assert (failed.label, failed.probability, failed.set, failed.top) == ("", None, [], [])


def test_a_promise_that_is_not_kept_is_not_said_again() -> None:
    kept = decisions(4000)
    assert kept.no_person() == "71% of photos need no person, at 98% precision (estimated)"
    low = Estimate(value=0.965, low=0.957, high=0.971, n=2840)
    assert kept.model_copy(update={"precision": low}).no_person() == (
        "71% of photos get an answer without a person, of which 96.5% were right: less than the 98% that was asked for"
    )
    none = kept.model_copy(update={"threshold": None, "coarse": wilson(88, 100)})
    assert none.no_person() == "No answer is sure enough for 98% precision; 88% of photos get a category above theirs"
