"""The report page: whole for every record, safe for every label, and true to the figures."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from kramar.records import RunRecord, Verification
from kramar.report import render
from kramar.report.page import cautions, scored_part, worst_first
from pages import Reader, whole_page
from report_records import HOSTILE, drawn, fruit, little, metrics, odd_records, shop, wilson


def read(record: RunRecord) -> Reader:
    return Reader(render(record, {}, lambda _: None))


def style() -> str:
    return resources.files("kramar.report").joinpath("style.css").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page() -> Reader:
    record = shop(fruit(81))
    return Reader(render(record, {label: [f"{label}/{n}.jpg" for n in range(4)] for label in fruit(81)}, drawn))


@pytest.mark.parametrize("kind", odd_records())
def test_every_record_gives_a_whole_page_that_loads_nothing(kind: str) -> None:
    record = odd_records()[kind]
    html = render(record, {score.label: [score.label, "b.jpg"] for score in record.classes}, lambda _: None)
    reader = whole_page(html)
    assert all(chart["role"] == "img" and chart["aria-label"] for chart in reader.all("svg"))


def test_the_headline_is_in_plain_words(page: Reader) -> None:
    n = f"{shop(fruit(81)).data.split['test']:,}"
    assert "Of 100 photos like these, about 74 get the right category." in page.text
    assert f"95% interval 72 to 76, measured on {n} photos that the model never saw." in page.text
    assert "For about 94, the right category is among its five best guesses" in page.text


def test_mistakes_show_where_the_answer_was_seen() -> None:
    record = shop(fruit(81))
    asked: list[str] = []

    def heat(image: str) -> bytes | None:
        asked.append(image)
        return None if len(asked) == 2 else drawn(image)

    found = whole_page(render(record, {}, drawn, heat))
    assert asked == [mistake.image for mistake in record.mistakes[:24]]
    seen = [image["alt"] for image in found.all("img") if (image["alt"] or "").startswith("Where it saw")]
    assert seen == [
        f"Where it saw {mistake.predicted}" for place, mistake in enumerate(record.mistakes[:24]) if place != 1
    ]
    assert "where in the square that it looks at it saw what it said" in found.text
    assert "where in the square" not in whole_page(render(record, {}, drawn)).text


def test_all_figures_are_on_the_page(page: Reader) -> None:
    record = shop(fruit(81))
    for scores in record.metrics.values():
        for field in ("accuracy", "top5", "balanced_accuracy", "macro_f1", "calibration_error"):
            estimate = getattr(scores, field)
            assert f"{estimate.value:.1%}" in page.text
            assert f"{100 * estimate.low:.1f} to {100 * estimate.high:.1f}" in page.text
            assert f"n = {estimate.n:,}" in page.text
    for figure in (
        "0.931", "0.913 to 0.949", "13.9 MB (13,912,431 bytes)", "6.24 ms", "3,474,833", "224 × 224 pixels",
        "every label is the same", "3.1 × 10⁻⁶", "C = 1, class weights balanced", "temperature of 0.913", "Apache-2.0",
        "2 unreadable, 1 missing, 3 not photos, 1 without a label",
        "cannot identify image file", "1 min 36 s", "142 photos a second", "1.2 GB",
        "AMD EPYC 7B13", "8.0 GB", record.command, record.data.fingerprint, record.model.sha256, "kramar 0.1.0",
        "4 March 2026, 14:02 UTC", record.data.warnings[0], "15 bins of equally many photos", "bootstrap",
        "That took 41 s and gave the right category on 75.7% of the validation photos", record.model.weights_source,
        "the table", "onnxruntime 1.23.2",
    ):  # fmt: skip
        assert figure in page.text
    for score in record.classes:
        assert score.label in page.text
    assert f"of {record.confusions[0].of}" in page.text
    assert page.text.count("is labelled") == 24
    assert f"24 of {len(record.mistakes)} in the record are shown" in page.text


def test_pictures_are_inside_and_described(page: Reader) -> None:
    pictures = page.all("img")
    assert len(pictures) == 24 + 4 * 81
    assert all(picture["src"].startswith("data:image/jpeg;base64,") and picture["alt"] for picture in pictures)


def test_only_our_own_script_may_run(page: Reader) -> None:
    policy = next(meta["content"] for meta in page.all("meta") if "http-equiv" in meta)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/]{43}='", policy)


def test_hostile_names_stay_text() -> None:
    record = odd_records()["hostile"]
    html = render(record, {HOSTILE: [HOSTILE]}, lambda _: None)
    reader = Reader(html)
    assert "<script>alert" not in html
    assert "\udcff" not in html
    assert "\x00" not in html
    assert not reader.all("img")
    assert "\"><script>alert('1')</script> & <img src=http://evil.example/x> 🍎" in reader.text
    assert "x" * 161 not in reader.text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no test", "Not tested. On validation photos, about 80 of 100"),
        ("no test", "Nothing was tested: no test photos were set aside."),
        ("nothing measured", "A model was trained, but nothing was measured."),
        ("no mistakes", "None of the 40 test photos was a mistake."),
        ("no mistakes", "No category was taken for another."),
        ("no validation", "There were no validation photos to measure on."),
        ("seven classes", "Of 100 photos like these, about 90 get the right category."),
        ("seven classes", "95% interval 69 to 98, measured on 20 photos that the model never saw."),
        ("seven classes, none wrong", "None of the 20 test photos was wrong."),
        ("seven classes, none wrong", "Of 100 photos like these, expect 83 to 100 to get the right category (95%"),
        ("estimated decisions", "71% of photos need no person, at 98% precision."),
        ("estimated decisions", "that is estimated, not guaranteed"),
        ("estimated decisions", "About 1,240 labelled photos that it has not seen could show a guarantee"),
        ("guaranteed decisions", "Guaranteed with 95% confidence."),
        ("guaranteed decisions", "coarse: a category above it"),
        ("decisions by category", "unknown: none of the categories"),
        ("decisions by category", "How often the sets of a category's photos hold it"),
        ("decisions by category", "before its temperature was fitted, 6.1% (5.2 to 7.3)"),
        ("a promise that is not kept", "without a person: 96.5% of those were right, not 98%."),
        ("no answer sure enough", "about 74 get the right category."),
        ("no answer sure enough", "No answer is sure enough to promise that 98% of those without a person are right."),
        ("copies", "31 test photos also in training or validation, as a copy: accuracy is 80.0% with them, and 77.9%"),
        ("copies", "31 leak, 40 twin, 1 dark: listed in issues.parquet, and shown by kramar audit."),
        ("a tree and products", "1.08 levels off on average (95% interval 1.05 to 1.11, n = 258)"),
        ("a tree and products", "at random would be 1.51."),
        ("a tree and products", "1298.0%96.9 to 98.7"),
        ("a tree and products", "24074.2%"),
        ("a tree and products", "400 products, 350 of them with several photos, 990 photos together. 1 product"),
        ("a tree and products", "Metrictest, by product"),
        ("a tree and products", "80.0% 75.8 to 83.6n = 400"),
        ("a tree without mistakes", "still be right in one above it. Right answers at each level"),
        ("several rungs", "Rungs climbed, what each gave and cost"),
        ("several rungs", "tail not kept: no better than the rung before"),
        ("several rungs", "head kept: the first rung"),
        ("nothing left out", "Nothing was left out."),
        ("much left out", "The first 500 files of 700"),
        ("a class without test photos", "no test photo shows it: Fruit-000."),
        ("a class without test photos", "of the 29 categories with test photos"),
    ],
)
def test_odd_records_are_told_plainly(kind: str, words: str) -> None:
    assert words in read(odd_records()[kind]).text


@pytest.mark.parametrize("right", [18, 20])
def test_few_classes_have_no_top5_and_few_photos_no_thousand(right: int) -> None:
    text = read(little(right)).text.lower()
    assert not re.search(r"top-5|five (best )?guesses|within five", text)
    assert "1,000" not in text


def test_without_a_tree_and_products_neither_is_told() -> None:
    assert not re.search(r"level by level|levels off|by product", read(shop(fruit(40))).text, re.IGNORECASE)


def test_ten_classes_have_no_top5_and_eleven_do() -> None:
    assert "Top-5 accuracy" not in read(shop(fruit(10))).text
    assert "Top-5 accuracy" in read(shop(fruit(11))).text


@pytest.mark.parametrize(
    ("right", "n", "of", "first"),
    [
        (996, 999, "100", "Of 100 photos like these, about 99 get"),
        (1495, 1500, "1,000", "Of 1,000 photos like these, about 997 get"),
        (1500, 1500, "1,000", "None of the 1,500 test photos was wrong."),
        (1, 1, "100", "The one test photo was not wrong."),
        (0, 400, "100", "Of 100 photos like these, about 0 get"),
    ],
)
def test_one_unit_counts_sentences_and_squares(right: int, n: int, of: str, first: str) -> None:
    scores = metrics(right / n, n).model_copy(update={"accuracy": wilson(right, n)})
    reader = read(shop(fruit(30), metrics={"test": scores}))
    header = reader.text.partition("Model file")[0]
    assert first in header
    assert {"100": "1,000", "1,000": "of 100 "}[of] not in header.lower()
    waffle = reader.all("svg")[0]["aria-label"]
    assert waffle.startswith(f"{of} squares for {of} photos: ")


def test_no_perfect_share_where_something_was_wrong() -> None:
    scores = metrics(0.9, 10_000).model_copy(update={"accuracy": wilson(9_999, 10_000)})
    text = read(shop(fruit(30), metrics={"test": scores})).text
    assert ">99.9% right" in text
    assert "100.0% right" not in text


def legend(reader: Reader, *keys: str) -> list[str]:
    return [attrs["class"] for attrs in reader.all("span") if attrs.get("class") in keys]


@pytest.mark.parametrize("kind", odd_records())
def test_legends_name_what_is_drawn_and_nothing_else(kind: str) -> None:
    reader = read(odd_records()[kind])
    drawn_in_svg = {path["class"] for path in reader.all("path") if path.get("d")} & {"right", "near", "rest"}
    assert legend(reader, "k-right", "k-near", "k-rest") == [
        f"k-{key}" for key in ("right", "near", "rest") if key in drawn_in_svg
    ]
    cells = {cell["class"] for cell in reader.all("td") if re.fullmatch("h[1-5]", cell.get("class", ""))}
    assert legend(reader, *(f"k-h{level}" for level in range(6))) == [f"k-{level}" for level in sorted(cells)]
    stacked = {bar["class"] for bar in reader.all("i") if bar.get("style")} & {"val", "test"}
    assert set(legend(reader, "k-val", "k-test")) == {f"k-{part}" for part in stacked}


def test_one_step_is_told_without_ladder_or_rung(page: Reader) -> None:
    assert "How this model was trained Its backbone was left as it came" in page.text
    assert not re.search(r"\brungs?\b|\bladder\b", page.text, re.IGNORECASE)


def test_a_step_without_words_is_named() -> None:
    record = shop(fruit(3))
    step = record.ladder[0].model_copy(update={"rung": "tail", "val_accuracy": None})
    assert "In one step, tail. That took 41 s." in read(record.model_copy(update={"ladder": [step]})).text


def test_one_of_a_thing_is_not_several() -> None:
    text = read(odd_records()["one of everything"]).text
    for words in (
        "on 1 photo that",
        "1 category with",
        "Every category has 1 photo.",
        "1 not a photo",
        "1 label differs",
    ):
        assert words in text
    assert not re.search(r"\b1 (photos|categories|mistakes|labels|pairs|bins|heads|more pairs|more categories)\b", text)


def test_warnings_come_before_everything_but_the_headline() -> None:
    record = shop(fruit(3))
    said = ["photos.csv: not UTF-8, read as cp1251", "2 classes are too small to split well"]
    text = read(record.model_copy(update={"data": record.data.model_copy(update={"warnings": said})})).text
    headline, warnings, rest = re.split("Before you rely on this|How well each category is recognised", text)
    assert headline
    assert all(warning in warnings for warning in said)
    assert rest


def test_doing_it_again_names_all_that_the_model_hangs_on(page: Reader) -> None:
    sentence = "The same data, version, seed and budget give the same model on the same machine with the same engine."
    assert sentence in page.text


def test_a_matrix_is_printed_with_its_heading_and_legend() -> None:
    html = render(shop(fruit(81)), {}, lambda _: None)
    whole = html[html.index('<div class="whole">') : html.index('<section aria-labelledby="mistakes">')]
    assert whole.index('id="heat"') < whole.index('class="heat"') < whole.index('class="k-h1"') < whole.rindex("</div>")
    paper = style().partition("@media print {")[2]
    kept = next(line for line in paper.splitlines() if "break-inside: avoid" in line)
    assert {".whole", "figure", ".cautions", ".pairs", ".facts"} <= {part.strip() for part in re.split("[,{]", kept)}


def test_photos_have_an_edge() -> None:
    assert re.search(r"\.mistakes img, \.shelves img \{ border: 1px solid var\(--hair\)", style())


def test_a_thousand_classes_stay_below_six_megabytes() -> None:
    labels = fruit(1000)
    picture = b"\xff\xd8\xff" + bytes(6000)
    html = render(shop(labels), {label: ["a", "b", "c", "d"] for label in labels}, lambda _: picture)
    assert len(html.encode()) < 6_000_000
    left_off = 4000 - (html.count("data:image/jpeg") - 24)
    assert 0 < left_off < 4000
    assert f"{left_off:,} further sample photos are not shown" in html


def test_order_of_classes_is_worst_first_and_unknown_last() -> None:
    record = shop(fruit(5))
    recalls = (wilson(9, 10), None, wilson(1, 2), wilson(50, 100), wilson(0, 3))
    classes = [
        score.model_copy(update={"recall": recall}) for score, recall in zip(record.classes, recalls, strict=True)
    ]
    assert [score.label[-1] for score in worst_first(classes)] == ["4", "3", "2", "0", "1"]


def test_cautions_name_what_the_file_does_differently() -> None:
    record = shop(fruit(3), verification=Verification(photos=296, label_differences=2, largest_difference=0.1))
    assert cautions(record)[-1] == "The model file names another category than its source on 2 of 296 photos."
    assert scored_part(record) == "test"


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    red, green, blue = (value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "paper"), ("soft", "paper"), ("accent", "paper"), ("ink", "wash"), ("soft", "wash"), ("on-light", "h1"),
        ("on-light", "h2"), ("on-light", "h3"), ("on-deep", "h4"), ("on-deep", "h5"),
    ],
)  # fmt: skip
def test_text_can_be_read_on_its_ground(scheme: int, text: str, ground: str) -> None:
    block = re.findall(r":root \{(.*?)\}", style(), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", block))
    light, dark = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5
