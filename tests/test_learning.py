"Time to quality: both builds get the same rows, a finished training stays, a failed one is named."

import csv
import json
from pathlib import Path

import pytest

from benchmarks import learning
from benchmarks.learning import NOW, OLD, by_loss, choose, learning_table, losses, reached, train_both
from dpcdvae.data.datasets import load_crystals

ROOT = Path(__file__).resolve().parents[1]


class Job:
    def __init__(self, code):
        self.code = code

    def wait(self):
        return self.code


def runs(tmp_path):
    return {b: tmp_path / b for b in (OLD, NOW)}, {OLD: 40, NOW: 90}


def test_rows_are_those_of_the_crystals_drawn(tmp_path):
    crystals = choose(ROOT / "data/perov_mini", 7, 0, tmp_path / "chosen.csv")
    with (tmp_path / "chosen.csv").open() as f:
        rows = list(csv.DictReader(f))
    assert tuple(r["material_id"] for r in rows) == crystals.ids and len(set(crystals.ids)) == 7
    again = load_crystals(tmp_path / "chosen.csv", progress=False)
    assert again.formulas() == crystals.formulas()


def test_builds_learn_at_once_and_go_on(tmp_path, monkeypatch):
    "Both start before either is waited for; a finished one is not started, an interrupted one resumes."
    folders, minutes = runs(tmp_path)
    given = []
    monkeypatch.setattr(learning, "start", lambda tree, *what: given.append(what) or Job(0))
    trees = {OLD: tmp_path, NOW: tmp_path}
    for folder in folders.values():
        folder.mkdir()
    (folders[NOW] / "run.json").write_text(json.dumps(dict(seed=1)))  # begun, not finished
    (folders[NOW] / "checkpoint.safetensors").touch()
    train_both(trees, folders, minutes, tmp_path, 1)
    old, now = given
    assert "00:40:00" in old and "01:30:00" in now and "transformer" in now and "transformer" not in old
    assert "--resume" in now and "--resume" not in old
    for folder in folders.values():
        (folder / "run.json").write_text(json.dumps(dict(steps=10)))
    given.clear()
    train_both(trees, folders, minutes, tmp_path, 1)
    assert given == []


def test_a_training_that_fails_is_named(tmp_path, monkeypatch):
    folders, minutes = runs(tmp_path)
    monkeypatch.setattr(learning, "start", lambda tree, *what: Job(int("transformer" in what)))
    with pytest.raises(ValueError, match="'now' failed"):
        train_both({OLD: tmp_path, NOW: tmp_path}, folders, minutes, tmp_path, 1)


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("learning*.json")), ids=lambda p: p.stem)
def test_the_table_says_what_is_stored(path):
    stored = json.loads(path.read_text())
    shown = learning_table(stored)
    for pair in stored["seeds"].values():
        for build in pair["builds"].values():
            rate = build["metrics"]["strict_rate"]
            assert f"{100 * rate['value']:.1f} [" in shown and rate["total"] == stored["num_val"]
            assert build["strict"].count("1") == rate["count"]


def test_builds_can_be_trained_in_turn(tmp_path, monkeypatch):
    "The second starts when the first has ended."
    order = []

    class Slow(Job):
        def wait(self):
            order.append("end")
            return super().wait()

    monkeypatch.setattr(learning, "start", lambda tree, *what: order.append("start") or Slow(0))
    folders = {OLD: tmp_path / "a", NOW: tmp_path / "b"}
    train_both({OLD: tmp_path, NOW: tmp_path}, folders, {OLD: 2, NOW: 1}, tmp_path, 1, in_turn=True)
    assert order[:3] == ["start", "end", "start"]


def test_losses_are_read_by_the_minute(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(dict(seconds=600, steps=100)))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "metrics.csv").write_text(
        "epoch,step,train/total,val/total\n0,49,,5.5\n0,49,7.0,\n1,99,,5.25\n"
    )
    assert losses(tmp_path) == [[5.0, 5.5], [10.0, 5.25]]


def test_the_time_to_a_loss_is_that_of_the_first_epoch_that_has_it():
    before, now = [[20.0, 6.0], [40.0, 5.0], [60.0, 5.1]], [[10.0, 5.2], [20.0, 5.0], [30.0, 4.9]]
    assert reached(now, before) == 20.0
    assert "5.000 before (after 40 minutes), reached now after 20 minutes, 4.900" in by_loss(
        {OLD: before, NOW: now}
    )
    assert reached(before, now) is None
    assert "4.900 before (after 30 minutes), 5.000 now (after 60): not reached" in by_loss(
        {OLD: now, NOW: before}
    )
