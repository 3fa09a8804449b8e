"""The speed benchmarks: what they record, that they check before they time, and what they say of the targets."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("psutil")

from benchmarks import docs, measure, plots, targets, tf_estimator
from benchmarks.measure import Contestant, Race, Setting

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command writes."""
    output = tmp_path_factory.mktemp("results")
    options = ["--group=loss", "--largest=10000", "--rounds=1", "--threads=1", "--no-tf"]
    command = [sys.executable, "-m", "benchmarks", *options, "--device=here", f"--output={output}"]
    subprocess.run(command, check=True, cwd=ROOT, timeout=120, capture_output=True)
    return output / "here"


class TestCommand:
    def test_record(self, folder):
        record = json.loads((folder / "speed.json").read_text())
        assert record["device"] == "here"
        assert not any("failed" in row for row in record["rows"])
        assert record["threads"] == [1]
        assert set(record["machine"]) == {"architecture", "cores", "cpu", "gpus", "memory_bytes", "system"}
        assert record["versions"].keys() >= {"python", "numpy"}
        assert {"glmheads", "date", "setting"} <= record.keys()
        timed = {(row["contestant"], row["size"]): row for row in record["rows"] if "seconds" in row}
        assert {("glmheads, NumPy", 1024), ("glmheads, NumPy", 10_000)} <= timed.keys()
        for row in timed.values():
            assert row["race"] == "loss"
            assert row["threads"] == 1
            assert row["check"]["difference"] <= row["check"]["tolerance"]
            times = row["seconds"]
            assert 0 < times["lower_quartile"] <= times["median"] <= times["upper_quartile"]
            assert len(times["rounds"]) == 1

    def test_targets_of_what_was_measured_are_judged(self, folder):
        judged = {row["target"]: row for row in json.loads((folder / "speed.json").read_text())["targets"]}
        assert judged["batch of 1,024: NumPy, loss"]["met"] in (True, False)
        large = judged["report, 2,000,000 examples: NumPy, than torchmetrics"]
        assert large["met"] is large["reached"] is None

    def test_plots_and_tables_are_written(self, folder):
        assert (folder / "sizes.svg").read_text().startswith("<?xml")
        assert "## Targets" in (folder / "speed.md").read_text()

    def test_docs_are_written_between_the_marks(self, folder, tmp_path):
        page = tmp_path / "speed.md"
        page.write_text(f"before\n{docs.BEGIN}\nkept before\n{docs.END}\nafter\n")
        for _ in range(2):
            docs.write(folder.parent, page)
            text = page.read_text()
            assert text.startswith("before\n")
            assert text.endswith("after\n")
            assert "kept before" not in text
            assert text.count("| Target |") == 1
            assert (tmp_path / "images" / "speed-here-sizes.svg").exists()


def _sums(seen: list, name: str, error: float = 0.0) -> Contestant:
    """Answers the sum of the logits, and notes when it worked on which."""

    def prepare(batches):
        def work():
            seen.append((name, float(batches[0].logits[0, 0])))
            return float(np.sum(batches[0].logits ** 2)) * (1 + error)

        return work

    return Contestant(prepare, lambda value: {"sum": value}, default_tolerance=1e-3)


class TestRace:
    def race(self, **contestants):
        return Race("sums", (100,), {name: lambda _, c=c: c for name, c in contestants.items()})

    def test_contestants_take_turns_on_fresh_data(self):
        seen: list = []
        rows = list(measure.run(self.race(a=_sums(seen, "a"), b=_sums(seen, "b")), Setting(rounds=2)))
        assert [row["contestant"] for row in rows] == ["a", "b"]
        assert [name for name, _ in seen] == ["a", "b", "a", "b", "b", "a"]
        data = [value for _, value in seen]
        assert data[::2] == data[1::2]
        assert len(set(data)) == 3

    @pytest.mark.parametrize("error", [2e-3, float("nan")])
    def test_who_disagrees_is_not_timed(self, error):
        seen: list = []
        race = self.race(a=_sums(seen, "a"), b=_sums(seen, "b", error), c=_sums(seen, "c", 5e-4))
        b, a, c = measure.run(race, Setting(rounds=1))
        assert b["contestant"] == "b"
        assert b["failed"].startswith("ValueError: sum is ")
        assert c["check"] == {"against": "a", "key": "sum", "difference": pytest.approx(5e-4), "tolerance": 1e-3}
        assert [name for name, _ in seen] == ["a", "b", "c", "a", "c"]
        assert a["seconds"]["median"] > 0

    def test_what_is_not_installed_is_skipped(self):
        def make(setting):
            import no_such_library  # noqa: F401

        race = replace(self.race(a=_sums([], "a")), contestants={"b": make})
        (row,) = measure.run(race, Setting())
        assert row["contestant"] == "b"
        assert "no_such_library" in row["skipped"]

    def test_data_are_what_the_heads_take(self):
        (first, second) = measure.batches(np.random.default_rng(0), 70_000, 2)
        for batch in (first, second):
            for array in (batch.labels, batch.logits, batch.weights):
                assert array.shape == (70_000, 1)
                assert array.dtype == np.float32
                assert array.flags.c_contiguous
            assert set(np.unique(batch.labels)) == {0, 1}
            assert batch.weights.min() >= 0
        # calibrated: the labels' mean is that of the probabilities, here within 5 standard errors
        assert abs(np.mean(first.labels - 1 / (1 + np.exp(-first.logits)))) < 5 * 0.5 / 70_000**0.5


class TestTargets:
    def row(self, contestant, seconds, size=2 * 10**6, threads=1):
        shared = {"race": "report", "contestant": contestant, "threads": threads, "size": size}
        return {**shared, "seconds": {"median": seconds}, "nanoseconds_per_example": seconds / size * 1e9}

    def judged(self, *rows, threads=(1, 2)):
        return {row["target"]: row for row in targets.judged(rows, threads)}

    def test_ratio(self):
        name = "report, 2,000,000 examples: NumPy, than torchmetrics"
        ours, peer = "glmheads, NumPy", "torchmetrics, no weights"
        rows = [
            self.row(ours, 1.0),
            self.row(peer, 41.0),
            self.row(ours, 1.0, threads=2),
            self.row(peer, 39.0, threads=2),
        ]
        found = self.judged(*rows)[name]
        assert found["reached"] == 41.0
        assert found["met"] is True
        assert found["reached_with_threads"] == {"2": 39.0}
        assert self.judged(rows[0], self.row(peer, 39.0))[name]["met"] is False
        assert self.judged(rows[0])[name]["met"] is None

    def test_flat_needs_both_ends(self):
        name = "report, 100,000 to 100,000,000: NumPy, slowest over fastest"
        ends = [self.row("glmheads, NumPy", 1.0, 10**5), self.row("glmheads, NumPy", 1200.0, 10**8)]
        assert self.judged(*ends)[name]["reached"] == pytest.approx(1.2)
        assert self.judged(ends[0])[name]["reached"] is None

    def test_names_are_those_of_races(self):
        from benchmarks import memory, races

        known = {(race.name, name) for group in races.GROUPS.values() for race in group for name in race.contestants}
        known |= {("memory", f"glmheads, {work}") for work in memory.WORK}

        class Asked(targets.Rows):
            def of(self, race, contestant, smallest=0):
                asked.add((race, contestant))
                return {}

        asked: set = set()
        for target in targets.TARGETS:
            target.reading(Asked([], 1))
        assert asked <= known


def test_plots_need_only_rows(tmp_path):
    shared = {"threads": 1, "size": 10**6, "seconds": {"median": 0.5}, "nanoseconds_per_example": 5.0}
    rows = [
        {**shared, "race": "copy", "contestant": "NumPy", "gigabytes_per_second": 10.0},
        {**shared, "race": "loss", "contestant": "glmheads, NumPy", "gigabytes_per_second": 5.0},
        {**shared, "race": "loss", "contestant": "peer", "gigabytes_per_second": None},
    ]
    assert [path.name for path in plots.draw({"rows": rows}, tmp_path)] == ["peers.svg", "bandwidth.svg"]
    assert "peer" in (tmp_path / "peers.svg").read_text()
    assert plots.draw({"rows": []}, tmp_path) == []


def test_tf_estimator_is_skipped_by_its_reason():
    race = Race("report", (100,), {"tf.estimator": tf_estimator.contestant("report", compiled=False)})
    (row,) = measure.run(race, Setting(tf_missing="not asked for"))
    assert row["skipped"] == "not asked for"


def test_tf_estimator_without_its_python_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(measure.SkippedError, match=r"Python 3\.11"):
        tf_estimator.environment()
