"""Wrong calls and wrong data, each through the real command line: exit 2, one line that says what to do, no trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import onnx
import pytest
from onnx import helper

from kramar import Run
from products import put, put_folder
from shell import complaint, kramar


@dataclass(frozen=True, slots=True)
class Place:
    """Where a wrong use happens: ``here`` is its own empty folder, in which kramar is called."""

    here: Path
    shop: Path
    run: Path

    @property
    def model(self) -> Path:
        """A good model file."""
        return self.run / "model.onnx"


@pytest.fixture
def place(tmp_path: Path, shop: Path, trained: Run) -> Place:
    return Place(tmp_path, shop, trained.path)


Use = Callable[[Place], list[str | Path]]
USES: dict[str, tuple[Use, str]] = {}


def wrong(message: str) -> Callable[[Use], Use]:
    """Register a use: it makes what it needs and gives the arguments; ``message`` is in the complaint."""

    def register(use: Use) -> Use:
        USES[use.__name__.replace("_", " ")] = use, message
        return use

    return register


@wrong("no-such-folder: no such folder or table; check the path (it is looked up from ")
def no_such_folder(place: Place) -> list[str | Path]:
    return ["train", "no-such-folder"]


@wrong("shop: expected class folders with photos (such as shop/Apple/1.jpg), found nothing; check the path")
def an_empty_folder(place: Place) -> list[str | Path]:
    (place.here / "shop").mkdir()
    return ["train", "shop"]


@wrong("found none but 1 no_label; put the photos into a folder a class")
def photos_without_class_folders(place: Place) -> list[str | Path]:
    put(place.here / "shop" / "1.jpg", "Box", 1)
    return ["train", "shop"]


@wrong("shop: expected training photos of at least two classes, found one class ('Box')")
def one_class_only(place: Place) -> list[str | Path]:
    put_folder(place.here / "shop", 9, ["Box"])
    return ["train", "shop"]


@wrong("products.csv: expected the column 'label', found 'image', 'group'; name yours with --columns label=group")
def a_table_with_a_wrong_column(place: Place) -> list[str | Path]:
    (place.here / "products.csv").write_text("image,group\n1.jpg,Box\n")
    return ["train", "products.csv"]


@wrong("expected rows with a photo and a label, found 1 missing (first: row 2: no file '1.jpg' in ")
def a_table_of_photos_that_are_not_there(place: Place) -> list[str | Path]:
    (place.here / "products.csv").write_text("image,label\n1.jpg,Box\n")
    return ["train", "products.csv"]


@wrong("found the URL 'https://shop.example/1.jpg'; download the photos first (wget -i urls.txt")
def a_table_of_image_urls(place: Place) -> list[str | Path]:
    (place.here / "products.csv").write_text("image,label\nhttps://shop.example/1.jpg,Box\n")
    return ["train", "products.csv"]


@wrong("a.xlsx: expected a folder or a table (.csv, ")
def a_table_of_another_kind(place: Place) -> list[str | Path]:
    (place.here / "a.xlsx").write_bytes(b"PK")
    return ["train", "a.xlsx"]


@wrong("shop: none of the 40 photos can be read, the first 'Box/0.jpg': not an image that Pillow can read")
def photos_that_are_all_unreadable(place: Place) -> list[str | Path]:
    for number in range(20):
        for label in ("Box", "Tent"):
            (place.here / "shop" / label).mkdir(parents=True, exist_ok=True)
            (place.here / "shop" / label / f"{number}.jpg").write_text(f"no photo {label} {number}")
    return ["train", "shop"]


@wrong("holds a run of other data (")
def a_run_of_other_data(place: Place) -> list[str | Path]:
    put_folder(place.here / "shop", 2)
    return ["train", "shop", "--rungs", "head", "--out", place.run]


@wrong("expected an empty folder or a kramar run, found other files; use a new --out")
def a_folder_of_letters_for_a_run(place: Place) -> list[str | Path]:
    (place.here / "letters").mkdir()
    (place.here / "letters" / "one.txt").write_text("mine")
    return ["train", place.shop, "--out", "letters"]


@wrong("Missing argument 'data'")
def no_data(place: Place) -> list[str | Path]:
    return ["train"]


@wrong("--budget: expected a duration such as 90s, 10m or 1h30m, found 'soon'")
def a_budget_of_soon(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--budget", "soon"]


@wrong("--seed: expected a whole number from 0 to 4294967295, found '-1'")
def a_negative_seed(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--seed", "-1"]


@wrong("--seed: expected a whole number from 0 to 4294967295, found 'seven'")
def a_seed_that_is_no_number(place: Place) -> list[str | Path]:
    return ["evaluate", place.model, place.shop, "--seed", "seven"]


@wrong("--top: expected a whole number from 1, found 'all'")
def a_top_that_is_no_number(place: Place) -> list[str | Path]:
    return ["classify", place.model, place.shop, "--top", "all"]


@wrong("No such option: --bugdet (Possible options: --budget")
def an_unknown_option(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--bugdet", "10m"]


@wrong("No such command 'trian'")
def an_unknown_command(place: Place) -> list[str | Path]:
    return ["trian", place.shop]


@wrong("no backbone called 'efficientnet_lite9'; did you mean efficientnet_lite")
def an_unknown_backbone(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--backbone", "efficientnet_lite9"]


@wrong("--columns: expected pairs such as image=photo,label=group")
def columns_that_are_no_pairs(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--columns", "photo"]


@wrong("expected the column 'нет', found 'image', 'label'; the table has kramar's own names: leave --columns away")
def columns_that_the_table_has_not(place: Place) -> list[str | Path]:
    (place.here / "products.csv").write_text("image,label\n1.jpg,Box\n")
    return ["train", "products.csv", "--columns", "image=нет"]


@wrong("expected a table for --columns, found a folder, which has no columns")
def columns_of_a_folder(place: Place) -> list[str | Path]:
    return ["train", place.shop, "--columns", "image=photo"]


@wrong("model.onnx: no such model file; expected the model.onnx of a kramar run")
def a_model_that_is_not_there(place: Place) -> list[str | Path]:
    return ["classify", "model.onnx", place.shop]


@wrong("found a Git LFS pointer to one; fetch the file itself with git lfs pull")
def a_model_that_is_text(place: Place) -> list[str | Path]:
    (place.here / "model.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    return ["classify", "model.onnx", place.shop]


@wrong(" bytes that are none, or only a part of one; copy it again from its run")
def a_model_that_is_half_copied(place: Place) -> list[str | Path]:
    (place.here / "model.onnx").write_bytes(place.model.read_bytes()[:1_000_000])
    return ["classify", "model.onnx", place.shop]


@wrong("no such model file")
def a_model_that_is_a_folder(place: Place) -> list[str | Path]:
    return ["classify", place.run, place.shop]


@wrong("other.onnx: not a kramar model file (no 'kramar' metadata); use a kramar run's model.onnx")
def a_model_of_somebody_else(place: Place) -> list[str | Path]:
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [helper.make_tensor_value_info("x", kind, [1])],
        [helper.make_tensor_value_info("y", kind, [1])],
    )
    other = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(other, place.here / "other.onnx")
    return ["evaluate", "other.onnx", place.shop]


@wrong("no-such.jpg: no such photo, folder or table, and no photo fits it as a pattern")
def classify_a_photo_that_is_not_there(place: Place) -> list[str | Path]:
    return ["classify", place.model, "no-such.jpg", "--out", "out.csv"]


@wrong("--out: expected a file ending in .csv, .jsonl, .parquet, found 'out.xlsx'")
def classify_into_an_unknown_format(place: Place) -> list[str | Path]:
    return ["classify", place.model, place.shop, "--out", "out.xlsx"]


@wrong("Missing argument 'photos'")
def classify_nothing(place: Place) -> list[str | Path]:
    return ["classify", place.model]


@wrong("--split: expected train, val, test or all, found 'exam'")
def evaluate_an_unknown_split(place: Place) -> list[str | Path]:
    return ["evaluate", place.model, place.shop, "--split", "exam"]


@wrong("expected labels of the model such as 'Box', found only others such as 'Lamp'")
def evaluate_on_unknown_labels(place: Place) -> list[str | Path]:
    put(place.here / "shop" / "Lamp" / "1.jpg", "Box", 1)
    return ["evaluate", place.model, "shop"]


@wrong("no such review queue; kramar classify --queue or kramar serve --queue makes one, and --database names another")
def review_without_a_queue(place: Place) -> list[str | Path]:
    return ["review", place.run]


@wrong("there: expected a finished kramar run, found no run.json; give a run or a model file")
def review_a_folder_that_is_no_run(place: Place) -> list[str | Path]:
    (place.here / "there").mkdir()
    return ["review", "there"]


@wrong("none.onnx: no such model file; expected a run folder, or the model.onnx of one")
def review_a_model_that_is_not_there(place: Place) -> list[str | Path]:
    return ["review", "none.onnx"]


@wrong("--host: 0.0.0.0 is reached from other machines, so --api-key-file is needed")
def review_for_all_without_keys(place: Place) -> list[str | Path]:
    return ["review", place.run, "--host", "0.0.0.0"]


@wrong("--port: expected a whole number from 0 to 65535")
def review_at_a_port_that_is_none(place: Place) -> list[str | Path]:
    return ["review", place.run, "--port", "99999"]


@wrong("--database: expected a file, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME")
def review_another_kind_of_database(place: Place) -> list[str | Path]:
    return ["review", place.run, "--database", "mysql://host/name"]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("name", USES)
def test_wrong_use_is_one_line_and_leaves_nothing(place: Place, name: str) -> None:
    use, message = USES[name]
    arguments = use(place)
    before = files(place.here)
    finished = {path: path.stat().st_mtime_ns for path in place.run.rglob("*")}
    done = kramar(*arguments, cwd=place.here)
    assert message in complaint(done, 2)
    assert not done.stdout
    assert files(place.here) == before
    assert {path: path.stat().st_mtime_ns for path in place.run.rglob("*")} == finished
