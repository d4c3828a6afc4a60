"The table of the pretrained models: what it takes from where, and that a stopped study goes on."

import json
from pathlib import Path

import pytest

from benchmarks import models
from benchmarks.studies import levels_of_models
from benchmarks.summaries import models_table
from dpcdvae.evaluation.validity import MetricsError

RATE = dict(value=0.25, low=0.2, high=0.3, count=5, total=20)


def evaluated(num=20):
    "What `evaluate_arm` finds, shortened."
    return dict(valid=RATE, novel=RATE, wdist_density=dict(value=1.5), num=num, p1=5, with_group=20)


@pytest.fixture
def study(monkeypatch, tmp_path):
    "A study whose crystals cost nothing; what was done is listed."
    done = []
    monkeypatch.setattr(models, "known_set", lambda data, split: [split])
    monkeypatch.setattr(models, "stored_rates", lambda *a: dict(num=8, metrics=dict(METRe=RATE, other=RATE)))
    monkeypatch.setattr(models, "evaluate_arm", lambda *a: done.append("evaluated") or evaluated())
    relaxed = dict(sun=RATE, num=2, calculator="emt", hull=dict(source="h", num_phases=3))
    monkeypatch.setattr(models, "relax_arm", lambda *a: done.append("relaxed") or dict(relaxed))

    def crystals(arm, *rest):
        if arm == "ion exchange":
            raise MetricsError("too few")
        if arm == "model" and "stop" in done:
            raise KeyboardInterrupt
        return [arm]

    monkeypatch.setattr(models, "crystals_of", crystals)
    out = tmp_path / "models.json"
    return done, out, lambda hull=None: models.model_study("m", Path("mp_20"), 20, 0, tmp_path, out, hull)


def test_what_is_done_is_not_done_again(study):
    done, out, run = study
    done.append("stop")
    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == ["stop", *["evaluated"] * 4]
    done.clear()
    run()
    assert done == ["evaluated"] * 3, "the set that was stopped and those after it"
    done.clear()
    run(Path("hull"))
    assert done == ["relaxed"] * 7, "crystals are not evaluated anew for their stability"
    done.clear()
    arms = run(Path("hull"))["models"]["m"]["arms"]
    assert not done and arms["ion exchange"] == dict(reason="too few")


def test_a_table_holds_sets_of_one_size_and_seed(study, tmp_path):
    done, out, run = study
    run()
    done.clear()
    for num, seed, differ in ((40, 0, "num"), (20, 1, "seed")):
        with pytest.raises(SystemExit, match=rf"what differs: {differ}\)"):
            models.model_study("m", Path("mp_20"), num, seed, tmp_path, out)
    assert not done


def test_the_table_shows_every_figure_where_it_was_measured(study):
    _, out, run = study
    run()
    text = models_table(json.loads(out.read_text()))
    assert "not measured, for want of a hull" in text and "S.U.N." not in text
    assert text.index("| model |") < text.index("No ion exchange: too few")
    run(Path("hull"))
    text = models_table(json.loads(out.read_text()))
    sun = next(line for line in text.splitlines() if line.startswith("| S.U.N."))
    assert sun.count("25.0 [20.0, 30.0] %") == 7 and "hull h (3 phases)" in text
    assert "| P1 at 0.1 Å | 25.0 % |" in text and "| 8 | – | – | – |" in text


def test_levels_are_those_of_the_table():
    record = dict(models=dict(m=dict(data="mp_20", arms={"test set": evaluated(), "model": evaluated()})))
    found = levels_of_models(record, "mp_20")
    assert list(found) == ["test set"] and found["test set"]["num"] == 20
    assert set(found["test set"]["metrics"]) == {"valid", "novel", "wdist_density"}
    assert levels_of_models(record, "perov_5") == {}


def test_rates_of_reconstruction_are_those_of_their_own_file():
    folder = Path(__file__).parent.parent / "results"
    strict = json.loads((folder / "strict.json").read_text())["models"]
    for name, m in json.loads((folder / "models.json").read_text())["models"].items():
        assert m["reconstruction"] == models._comes_back(strict[name]), f"run benchmarks.models {name} again"
