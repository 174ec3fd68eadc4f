"""One training in its folder, from features to report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kramar import machine
from kramar.auditing.gate import summary
from kramar.auditing.issues import Issue, gravest_first, write_issues
from kramar.config import TrainConfig
from kramar.data import manifest, split
from kramar.data.manifest import Entry
from kramar.decisions import fitting, unknowns
from kramar.decisions.fitting import Asked
from kramar.decisions.unknowns import Familiar
from kramar.errors import FailedError
from kramar.evaluation.decided import decided
from kramar.evaluation.metrics import Scored, score
from kramar.exporting import fingerprints, onnx_file
from kramar.files import make_folder, replacing, write_text
from kramar.interrupt import gently
from kramar.jobs.account import HeatPictures, Outcome, Thumbnails, account, samples, seconds
from kramar.jobs.allowance import Allowance
from kramar.jobs.card import licence, model_card, source
from kramar.jobs.gather import Gathered
from kramar.jobs.judgement import judge
from kramar.jobs.looked import look
from kramar.jobs.run import Run, RunFolder
from kramar.jobs.scores import outputs, scored
from kramar.jobs.seen import NAME as SEEN
from kramar.jobs.seen import SHOWN, Seen
from kramar.models import architectures, engines
from kramar.models.backbones import Backbone
from kramar.models.engines import Choice, Converted
from kramar.records import Decisions, Metrics, ModelCard, ResizeRule
from kramar.report.page import render
from kramar.runtime.model import Model
from kramar.runtime.rule import Rule
from kramar.runtime.session import Scores
from kramar.training import ladder
from kramar.training.budget import some
from kramar.training.climb import Climbed, Ground, Limits, Step
from kramar.training.head import Part
from kramar.training.ladder import Planned
from kramar.training.material import ASIDE, Material
from kramar.training.rungs.head import HeadRung

# Of the budget, from which its overshoot is said.
OVERSHOOT = 1.1
# With less time left after the head than this, nothing else is begun, unless the head is beyond the limits.
_LEAST_SECONDS = 20.0
# Validation photos that say how much that is new is usual.
_HELD = 300


class Training:
    """One run: features, rungs, the scores of all of them, the model file, the report."""

    def __init__(
        self, source: Path, config: TrainConfig, network: Backbone, gathered: Gathered, run: RunFolder
    ) -> None:
        self._source = source
        self._config = config
        self._network = network
        self._gathered = gathered
        self._run = run
        self._left_out = list(gathered.left_out)
        self._warnings = list(gathered.warnings)
        self._limits = Limits.of(config, classes=len({entry.label for entry in gathered.entries}))
        self._stopped: Callable[[], bool] = lambda: False
        self._climbed: Sequence[Climbed] = ()
        self._aside = 0
        self._saw: dict[str, Scores] = {}
        self._learnt: list[Entry] = []

    def finish(self) -> Run:
        """Go through the rooms."""
        run = self._run
        with run.room("features"):
            converted = engines.prepare(self._network, run)
            choice = run.plan.choice
            if choice is None or not engines.is_installed(choice):
                choice = engines.choose(self._network, converted, run)
            run.choose(choice=choice)
            looked = look(self._source, self._config, self._network, converted, choice, self._gathered, run)
            entries, store = looked.entries, looked.store
            self._left_out += looked.left_out
            self._warnings += looked.warnings
        val = [entry for entry in entries if entry.split == "val"]
        aside = split.aside(val, self._config.seed, split.elsewhere(entries, "val"))
        self._aside = sum(aside)
        material = Material.of(entries, manifest.require_classes(entries, self._source), aside)
        ordered = [entry for some in material.parts.values() for entry in some]
        seen = store.gather([entry.hash for entry in ordered])
        parts = _parts(material, seen)
        with run.room("train"):
            allowance = Allowance(self._config.budget, material, choice, looked.done.rates, self._network.resize)
            climbed, skipped = self._climb(material, converted, choice, parts, allowance)
            chosen = self._chosen(climbed)
        with run.room("audit"):
            issues = self._issues(ordered, seen, climbed[0], judged=allowance.judging > 0)
        models, final = run.path / "models", run.path / "model.onnx"
        with run.room("export"):
            card = Model(models / f"{chosen.key}.onnx").card
            familiar = self._familiar(chosen, material, parts, allowance.shown)
            onnx_file.describe(models / f"{chosen.key}.onnx", card, final, familiar)
        with run.room("evaluate"):
            answers = {one.key: scored(one, models, material, parts, run) for one in climbed if one is not chosen}
            asked = ("val", "test", ASIDE)
            said = scored(chosen, models, material, parts, run, asked, final, familiar, self._saw.__setitem__)
            answers[chosen.key] = said
            self._leave_seen(final, material)
            metrics = {
                one.key: {
                    **({"val": one.val} if one.val else {}),
                    **({"test": score(answers[one.key]["test"], self._config.seed)} if material.parts["test"] else {}),
                }
                for one in climbed
            }
            decisions = self._decisions(said, [one.category for one in card.classes])
            card = card.model_copy(update={"metrics": metrics[chosen.key], "decisions": decisions})
            onnx_file.describe(final, card, final)
        outcome = Outcome(
            entries=entries,
            material=material,
            left_out=self._left_out,
            warnings=self._warnings,
            issues=issues,
            climbed=climbed,
            skipped=skipped,
            chosen=chosen,
            limits=self._limits,
            scored=answers,
            metrics=metrics,
            card=card,
            decisions=decided(said["test"], Rule(decisions, card.classes)) if decisions and "test" in said else None,
            choice=choice,
            features=looked.done,
        )
        with run.room("report"):
            manifest.write_manifest(entries, run.path / "manifest.parquet")
            if not self._config.skip_audit:
                write_issues(issues, run.path / "issues.parquet")
            record = account(self._source, self._config, self._gathered, outcome, run)
            pictures = Thumbnails(entries), HeatPictures(entries, Model(run.path / "model.onnx"))
            write_text(run.path / "report.html", render(record, samples(entries), *pictures))
        if run.elapsed > OVERSHOOT * self._config.budget:
            run.say(f"Warning: took {run.elapsed:.0f}s of a budget of {self._config.budget:g}s; less was not possible")
        return run.finish(
            record.model_copy(update={"seconds": seconds(run), "peak_memory_bytes": machine.peak_memory()})
        )

    def _issues(self, entries: list[Entry], seen: Scores, head: Climbed, *, judged: bool) -> list[Issue]:
        """What the photos were found to be, and now what their labels are, by their embeddings ``[N, D]``."""
        known, config = self._gathered.issues, self._config
        if config.skip_audit:
            return known
        if not judged:
            self._run.say(f"No time to look for labels that are probably wrong: kramar audit {self._source} does")
            return known
        assert head.head is not None, "the first rung is the head"
        found = judge(entries, seen, config.seed, self._run, head.head.regularisation).issues
        if found:
            self._run.say(f"Labels: {summary(found)} (kramar audit {self._source} shows them)")
        return gravest_first([*known, *found])

    def _decisions(self, said: Mapping[str, Scored], paths: Sequence[str]) -> Decisions | None:
        """By the photos that were kept aside, or else by those that chose the model; None where there are neither."""
        fit, by = (fitting.promised, said[ASIDE]) if ASIDE in said else (fitting.estimated, said.get("val"))
        config = self._config
        asked = Asked(config.precision, by_class=config.class_precision, class_sets=config.class_sets)
        return fit(by, paths, asked, config.seed) if by else None

    def _familiar(
        self, chosen: Climbed, material: Material, parts: Mapping[str, Part], shown: list[Entry]
    ) -> Familiar | None:
        """What tells unknown photos, by training photos; None where the model file has no room for it."""
        if chosen.key == HeadRung.key:
            embeddings, truth, held = parts["train"].embeddings, parts["train"].truth, parts["val"].embeddings
            self._saw |= {part: parts[part].embeddings for part in ("val", ASIDE)}
            places = {entry.image: place for place, entry in enumerate(material.parts["train"])}
            self._learnt = some(material.parts["train"], SHOWN)
            self._saw["train"] = embeddings[[places[one.image] for one in self._learnt]]
        else:
            model = Model(self._run.path / "models" / f"{chosen.key}.onnx")
            val = some(material.parts["val"], _HELD)
            (found,) = outputs(model, ["embedding"], [*shown, *val], self._run)
            embeddings, held = found[: len(shown)], found[len(shown) :]
            truth = np.array(material.numbers(shown), np.int64)
            self._learnt, self._saw["train"] = shown, embeddings
        rank = unknowns.rank(embeddings.shape[1], self._limits.room(chosen))
        return unknowns.fit(embeddings, truth, rank, held if len(held) > 1 else embeddings) if rank else None

    def _leave_seen(self, final: Path, material: Material) -> None:
        """Leave what the model saw to who learns from corrections, as far as it looked."""
        train = self._saw["train"]
        saw = {part: self._saw.get(part, train[:0]) for part in ("train", "val", ASIDE)}
        if all(len(saw[part]) == len(material.parts[part]) for part in ("val", ASIDE)):
            # Those that the budget had no time for are kept from learning too.
            held = [entry for entry in self._gathered.entries if entry.split != "train"]
            parts = {**material.parts, "held": held, "train": self._learnt}
            seen = Seen.of(fingerprints.body(final), parts, saw)
            seen.write(self._run.path / SEEN)

    def _climb(
        self,
        material: Material,
        converted: Converted,
        choice: Choice,
        parts: Mapping[str, Part],
        allowance: Allowance,
    ) -> tuple[list[Climbed], list[ladder.Skipped]]:
        """The rungs that were climbed, the lowest first, and those that were not."""
        run, config, network = self._run, self._config, self._network
        make_folder(run.path / "models")
        ground = Ground(
            folder=run.path / "models",
            material=material,
            seed=config.seed,
            progress=run,
            elapsed=lambda: run.elapsed,
            left=lambda: allowance.left(run.elapsed, self._climbed),
            stopped=lambda: self._stopped(),  # noqa: PLW0108 - it is another one once rungs are climbed
            card=self._card(material),
            cache_size=config.cache_size,
            limits=self._limits,
            decode=allowance.decode,
        )

        def climb(rungs: Sequence[Planned], below: Sequence[Climbed]) -> tuple[list[Climbed], list[ladder.Skipped]]:
            return ladder.climb(
                ground, rungs, run.plan.steps or {}, lambda steps: run.choose(steps=steps), self._publish, below
            )

        first, _ = climb(
            [Planned(HeadRung(ground, converted.path, network.name, network.resize, parts), share=0.0)], ()
        )
        allowance.judge(first[0])
        rest = config.rungs[1:]
        no_time = ground.left() < _LEAST_SECONDS and self._limits.fits(first[0])
        if rest and len(run.plan.steps or {}) == 1 and no_time:
            why = f"no time: {max(0.0, ground.left()):.0f} s are left"
            run.choose(steps={**(run.plan.steps or {}), **{rung: Step(do=False, why=why) for rung in rest}})
        known = run.plan.steps or {}
        if all(rung in known and not known[rung].do for rung in rest):
            for why in dict.fromkeys(known[rung].why for rung in rest):
                alike = [rung for rung in rest if known[rung].why == why]
                run.say(f"Left out: {', '.join(alike)} ({why})")
            return first, [ladder.Skipped(key=rung, rung=rung, why=known[rung].why) for rung in rest]
        # PyTorch takes seconds to load, and a run that stops at the head does without.
        from kramar.training import plan

        with gently(self._told) as self._stopped, machine.kept_memory():
            return climb(plan.rungs(ground, config, engines.Opened(network, converted, choice), first[0]), first)

    def _told(self) -> None:
        self._run.say("Interrupted: this rung ends here, and the run finishes; once more to stop at once")

    def _publish(self, climbed: Sequence[Climbed]) -> None:
        """Keep the best so far as a model file that can be used, whatever comes next."""
        self._climbed = climbed
        if (chosen := ladder.best(climbed, self._limits)) is not None:
            _link(self._run.path / "models" / f"{chosen.key}.onnx", self._run.path / "model.onnx")

    def _chosen(self, climbed: Sequence[Climbed]) -> Climbed:
        chosen = ladder.best(climbed, self._limits)
        if chosen is None:
            found = "; ".join(f"{one.key} is {self._limits.excess(one)}" for one in climbed)
            enough = ", or for ".join(limits.words() for limits in self._limits.raised(climbed))
            raise FailedError(
                f"{self._run.path}: no model is within the limits: {found}. "
                f"Ask for {enough}, or give more time (--budget) and all rungs (--rungs)"
            )
        return chosen

    def _card(self, material: Material) -> Callable[..., ModelCard]:
        """How a rung's model file is described."""
        entries = [entry for some in material.parts.values() for entry in some]

        def card(
            *, resize: ResizeRule, temperature: float, backbone: str, rung: str, storage: str, val: Metrics | None
        ) -> ModelCard:
            known = architectures.find(backbone)
            return model_card(
                self._gathered,
                entries,
                material.classes,
                seed=self._config.seed,
                resize=resize,
                temperature=temperature,
                backbone=backbone,
                rung=rung,
                storage=storage,
                metrics={"val": val} if val else {},
                weights_source=source(known),
                weights_licence=licence(known),
            ).model_copy(update={"aside": self._aside})

        return card


def _parts(material: Material, seen: Scores) -> dict[str, Part]:
    """The parts with their embeddings, which are views of ``seen``, those of all parts one after the other."""
    ends = np.cumsum([len(entries) for entries in material.parts.values()])
    return {
        part: Part(embeddings, np.array(material.truth(part), np.int64), [entry.group for entry in entries])
        for (part, entries), embeddings in zip(material.parts.items(), np.split(seen, ends[:-1]), strict=True)
    }


def _link(source: Path, target: Path) -> None:
    """``target`` becomes the same file as ``source``, or a copy where the file system knows no links."""
    with replacing(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
