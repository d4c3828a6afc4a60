"""The tests by which labs decide: paired, with an interval, and the other way round for reversed data"""

import json
from pathlib import Path

import pytest
from scipy.stats import binom

from benchmarks.labs import compared, conclusion, differences, lab_rates, mcnemar
from benchmarks.learnt import QUESTIONS, Question, answer
from benchmarks.studies import bits

ROOT = Path(__file__).parents[1]


def scores(*each):
    return [dict(count=e.count("1"), total=len(e), each=e) for e in each]


def test_mcnemar_is_the_sign_test_of_what_changed():
    ours, theirs = "1" * 12 + "0" * 3 + "1" * 40 + "0" * 45, "0" * 12 + "1" * 3 + "1" * 40 + "0" * 45
    t = mcnemar(ours, theirs)
    assert t["p"] == pytest.approx(2 * binom.cdf(3, 15, 0.5)) and t["difference"] == pytest.approx(0.09)
    assert t["low"] < 0.09 < t["high"] and t["high"] - t["low"] < 0.17
    assert mcnemar(theirs, ours)["p"] == pytest.approx(t["p"])
    assert mcnemar(theirs, ours)["low"] == pytest.approx(-t["high"])
    assert mcnemar("0101", "0101")["p"] == 1.0
    with pytest.raises(ValueError, match="4 and 3 crystals"):
        mcnemar("0101", "010")


def test_reversed_data_reverse_the_answer():
    good, bad = "1" * 60 + "0" * 40, "0" * 30 + "1" * 30 + "0" * 40
    (_, said), (_, reverse) = (
        differences({"new": scores(a), "old": scores(b)}, "old") for a, b in ((good, bad), (bad, good))
    )
    assert "**more**: +30.0 points" in said and "**less**: -30.0 points" in reverse
    assert "undecided" in differences({"new": scores(good), "old": scores(good)}, "old")[1]


def test_pairing_sees_what_rates_alone_do_not():
    ours, theirs = "1" * 58 + "0" * 42, "1" * 50 + "0" * 50  # eight crystals won, none lost
    test, paired = compared(scores(ours), scores(theirs))
    assert paired and test["p"] < 0.01 and "**more**" in conclusion(test, 1)
    without = [dict(count=58, total=100)], [dict(count=50, total=100)]
    test, paired = compared(*without)
    assert (
        not paired and test["p"] > 0.2 and "Fisher" in differences(dict(a=without[0], b=without[1]), "b")[1]
    )


def test_seeds_are_pooled_pair_by_pair():
    test, _ = compared(scores("110", "011"), scores("100", "010"))
    assert test["difference"] == pytest.approx(2 / 6)


def test_rates_carry_the_outcome_of_each_crystal():
    rows = [dict(matched=True), dict(matched=None), dict()]
    assert bits(rows, "matched") == "100"
    model = dict(label="a", reconstruction=dict(free=dict(match_rate=dict(count=1, total=3), matched="100")))
    assert lab_rates(dict(models=dict(x=model)), "free")["a"] == [dict(count=1, total=3, each="100")]


def test_a_page_of_answers_follows_its_runs(tmp_path):
    q = Question("Better?", "x.json", ("new", "r"), ("old", "r"), more="Yes.", less="No.")
    good, bad = "1" * 60 + "0" * 40, "0" * 30 + "1" * 30 + "0" * 40

    def said(new, old):
        rate = lambda e: dict(match_rate=dict(count=e.count("1"), total=100), matched=e)
        runs = {k: dict(label=k, reconstruction=dict(r=rate(e))) for k, e in dict(new=new, old=old).items()}
        (tmp_path / "x.json").write_text(json.dumps(dict(models=runs)))
        return answer(q, tmp_path)["said"]

    assert answer(q, tmp_path)["said"] == "not measured"
    assert said(good, bad) == "Yes." and said(bad, good) == "No." and "Undecided" in said(good, good)


def test_every_question_has_a_lab_and_a_file_that_is_named():
    for q in QUESTIONS:
        assert (ROOT / "nbs" / f"{q.lab}.ipynb").exists() and q.more and q.less
        assert q.file.endswith(".json")
