"""Bars 1 to 3: accuracy and time from cold, feature rate, warm cache, and the same command again."""

from __future__ import annotations

from benchmarks.harness import TABLE, bar, record, run, scratch


def main() -> None:
    """Train on Grocery from a cold cache, from a warm one, and again in the same folder."""
    folder = scratch("main-job")
    cache = folder / "cache"
    command = ("train", str(TABLE), "--budget", "5m", "--rungs", "head", "--out")
    cold = run(*command, str(folder / "cold"), cache=cache)
    warm = run(*command, str(folder / "warm"), cache=cache)
    before = (folder / "warm" / "run.json").read_bytes()
    again = run(*command, str(folder / "warm"), cache=cache)
    first, second = record(folder / "cold"), record(folder / "warm")
    accuracy, rates = first["metrics"]["test"]["accuracy"], first["rates"]
    bar(
        "test accuracy, 81 classes, official split",
        f"{accuracy['value']:.1%} ({accuracy['low']:.1%}-{accuracy['high']:.1%})",
        "at least 72.5%",
        accuracy["value"] >= 0.725,
    )
    bar("whole run from cold", f"{cold.seconds:.1f} s", "at most 180 s", cold.seconds <= 180)
    peak = max(cold.peak_bytes, first["peak_memory_bytes"])
    bar("peak memory", f"{peak / 1e9:.2f} GB", "at most 2 GB", peak <= 2e9)
    share = rates["features"] / rates["bound"]
    bar(
        f"feature rate {rates['features']:.1f}/s of {rates['bound']:.1f}/s "
        f"(model {rates['bare_model']:.1f}, decode {rates['decode']:.1f} a core)",
        f"{share:.1%}",
        "at least 90%",
        share >= 0.9,
    )
    bar("new --out, warm cache", f"{warm.seconds:.1f} s", "at most 15 s", warm.seconds <= 15)
    same = first["model"]["sha256"] == second["model"]["sha256"]
    bar("model files byte for byte the same", str(same), "identical predictions", same)
    bar("the same command again", f"{again.seconds:.2f} s", "under 3 s", again.seconds < 3)
    unchanged = before == (folder / "warm" / "run.json").read_bytes() and "finished already" in again.output
    bar("changes nothing and says so", str(unchanged), "yes", unchanged)
