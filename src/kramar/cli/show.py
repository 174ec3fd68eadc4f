"""Results on standard output."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kramar.cli.terminal import printable
from kramar.errors import DataError
from kramar.records import COARSE, percent

if TYPE_CHECKING:
    from kramar.jobs.decide import Decision
    from kramar.jobs.evaluate import Evaluation, Evaluations
    from kramar.jobs.learnings import Learning
    from kramar.jobs.run import Run
    from kramar.records import DecisionScores, Estimate, Prediction


def show_run(done: Run) -> None:
    """Print what a finished training run made."""
    record = done.record
    if "test" in record.metrics:
        print(f"Test accuracy {record.metrics['test'].accuracy.percent()}")
    elif "val" in record.metrics:
        print(f"Validation accuracy {record.metrics['val'].accuracy.percent()}; nothing was tested")
    else:
        print("Neither tested nor validated: the data has no photos for it")
    if record.decisions:
        print(record.decisions.no_person())
    if len(record.ladder) > 1:
        print("Climbed       validation      test       MB      ms  rung")
        for rung in record.ladder:
            val, test = (f"{one.value:.1%}" if one else "–" for one in (rung.val_accuracy, rung.test_accuracy))
            print(
                f"              {val:>10} {test:>9} {rung.bytes / 1e6:8.2f} {rung.milliseconds:7.1f}  {rung.key}"
                f"{', kept' if rung.kept else ''}: {rung.how}"
            )
    model = record.model
    size, speed = f"{model.bytes / 1e6:.1f} MB", f"{model.milliseconds:.1f} ms a photo"
    if model.openvino_milliseconds is not None:
        speed += f" ({model.openvino_milliseconds:.1f} in OpenVINO)"
    print(f"Model         {done.path / model.file}: {size}, {speed}, {model.storage}")
    left_out = {kind: count for kind, count in record.data.left_out.items() if count}
    if left_out:
        print("Left out      " + ", ".join(f"{count:,} {kind}" for kind, count in left_out.items()))
    print(f"Report        {done.report}")


def show_evaluation(evaluation: Evaluation) -> None:
    """Print a model's scores."""
    part = "all photos" if evaluation.split == "all" else f"{evaluation.split} photos"
    print(f"{evaluation.model} on {evaluation.data} ({part}, n = {evaluation.photos:,})")
    for name, estimate in evaluation.metrics:
        title = name.replace("_", " ")
        if name == "log_loss":
            print(f"  {title:<18} {estimate.value:.4f}  ({estimate.low:.4f} to {estimate.high:.4f})")
        else:
            print(_share(title, estimate))
    if tree := evaluation.tree:
        for one in tree.levels[:-1]:  # the last are the classes, whose accuracy is said
            print(_share(f"level {one.level}, of {one.categories:,}", one.accuracy))
        if gap := tree.distance:
            figures = f"{gap.value:6.2f}  ({gap.low:.2f} to {gap.high:.2f})"
            print(f"  {'distance':<18} {figures} levels, of mistakes; {tree.chance_distance:.2f} by chance")
    if products := evaluation.products:
        apart = f"; {products.left_out:,} left out, of several labels" if products.left_out else ""
        accuracy = products.metrics.accuracy
        print(f"{_share('products', accuracy)} of {accuracy.n:,}, each by all of its photos{apart}")
    if evaluation.decisions:
        _show_decisions(evaluation.decisions)
    for confusion in evaluation.confusions[:5]:
        print(f"  {confusion.count} of {confusion.of} {confusion.truth!r} called {confusion.predicted!r}")
    if left_out := {kind: count for kind, count in evaluation.left_out.items() if count}:
        print("  left out: " + ", ".join(f"{count:,} {kind}" for kind, count in left_out.items()))


def _share(title: str, share: Estimate) -> str:
    return f"  {title:<18} {share.value:6.1%}  ({share.low:.1%} to {share.high:.1%})"


def show_evaluations(evaluations: Evaluations) -> None:
    """Print several models' scores, then what is shown of each pair."""
    first = evaluations.models[0]
    part = "all photos" if first.split == "all" else f"{first.split} photos"
    print(f"{first.data} ({part}, n = {first.photos:,})")
    for one in evaluations.models:
        decided = f"; {one.decisions.no_person()}" if one.decisions else ""
        print(f"  {one.model}: accuracy {one.metrics.accuracy.percent()}{decided}")
    for pair in evaluations.comparisons:
        print(pair.words())
        if gap := pair.coverage:
            print(
                f"  photos that need no person: {100 * gap.value:+.1f} points "
                f"(95% interval {100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
            )


def show_decision(decision: Decision) -> None:
    """Print what a model file's new decisions do."""
    part = "all photos" if decision.split == "all" else f"{decision.split} photos"
    print(f"{decision.model}, decided on {decision.data} ({part}, n = {decision.photos:,})")
    _show_decisions(decision.decisions)
    if more := decision.decisions.more_photos():
        print(f"  {more}")


def show_learning(learning: Learning, *, undone: bool) -> None:
    """Print what a model file has learnt, or that this was taken back."""
    if undone:
        print(f"{learning.model}: put back as it was before it learnt from {learning.learnt:,} decided photos")
        return
    before, after = learning.accuracy
    gap, losses = learning.difference, learning.log_loss
    print(f"{learning.model} has learnt from {learning.learnt:,} decided photos in {learning.seconds:.1f} s")
    print(f"  {learning.changed:,} of them show something else than it had said")
    if learning.categories:
        print(f"  new categories     {', '.join(repr(label) for label in learning.categories)}")
    print(
        f"  validation         {before.value:.1%} before, {after.value:.1%} after: {100 * gap.value:+.1f} points "
        f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f}, p = {learning.p:.2g}, n = {after.n:,})"
    )
    print(f"  log loss           {losses[0]:.4f} before, {losses[1]:.4f} after")
    if learning.auto is not None:
        how = "guaranteed" if learning.guaranteed else "estimated"
        print(f"  auto               from probability {learning.auto:.3f} on ({how})")


def _show_decisions(decisions: DecisionScores) -> None:
    print(f"  {decisions.no_person()}")
    for name, share, right in (
        ("auto", decisions.coverage, decisions.precision),
        ("coarse", decisions.coarse, decisions.coarse_precision),
    ):
        if right:
            print(f"  {name:<18} {share.value:6.1%} of photos, {right.value:.1%} of them right ({right.n:,} answers)")
    if decisions.unknown and decisions.unknown_false:
        found = f", {decisions.unknown_found.value:.1%} of other labels" if decisions.unknown_found else ""
        print(
            f"  unknown            {decisions.unknown.value:6.1%} of photos: "
            f"{decisions.unknown_false.value:.1%} of the model's labels{found}"
        )
    if decisions.set_coverage and decisions.set_size:
        held, target = f"{decisions.set_coverage.value:6.1%}", percent(decisions.set_target)
        print(f"  sets               {held} hold the truth ({target} promised), {decisions.set_size:.1f} classes each")


def show_predictions(predictions: Iterator[Prediction]) -> tuple[int, int]:
    """A table that grows a row a photo, as they come: the last column takes whatever width it needs."""
    done = bad = 0
    print(f"{'prob.':>6}  {'decision':<8}  {'label':<28}  image")
    for prediction in predictions:
        done += 1
        bad += bool(prediction.error)
        name = _one_line(prediction.image)
        if prediction.error:
            print(f"{'error':>6}  {'':<8}  {'':<28}  {name}: {prediction.error}")
        else:
            said = prediction.category if prediction.decision == COARSE else prediction.label
            print(f"{prediction.probability:6.1%}  {prediction.decision:<8}  {_one_line(said):<28}  {name}")
    return done, bad


def _one_line(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def json_predictions(predictions: Iterator[Prediction]) -> tuple[int, int]:
    """Print one JSON document that grows with the rows; how many there were, and how many had an error."""
    done = bad = 0
    print('{"predictions": [', end="")
    try:
        for prediction in predictions:
            print(",\n " if done else "\n ", printable(prediction.model_dump_json()), sep="", end="")
            done += 1
            bad += bool(prediction.error)
    except DataError:
        print("\n]}")  # it is --strict that fails, after the last row: the document is whole
        raise
    print("\n]}")
    return done, bad


def count_predictions(predictions: Iterator[Prediction]) -> tuple[int, int]:
    """Print nothing; how many rows there were, and how many had an error."""
    done = bad = 0
    for prediction in predictions:
        done += 1
        bad += bool(prediction.error)
    return done, bad
