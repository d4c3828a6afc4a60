"""The tests by which labs decide: paired, with an interval, and the other way round for reversed data"""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from scipy.stats import binom

from benchmarks import kl, labs
from benchmarks.labs import compared, conclusion, differences, lab, lab_rates, mcnemar, seed_spread
from benchmarks.learnt import NEW, QUESTIONS, Question, answer, creation
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
    assert (said(good, bad), said(bad, good)) == ("In one training: yes.", "In one training: no.")
    assert "Undecided" in said(good, good)


def test_an_answer_says_where_the_seeds_disagree(tmp_path):
    q = Question("Better?", "x.json", ("new", "r"), ("old", "r"), more="Yes.", less="No.")
    rate = lambda n: dict(match_rate=dict(count=n, total=100), matched="1" * n + "0" * (100 - n))

    def found(new, old):
        runs = {f"{k}{i}": (k, n) for k, v in dict(new=new, old=old).items() for i, n in enumerate(v)}
        models = {name: dict(label=k, reconstruction=dict(r=rate(n))) for name, (k, n) in runs.items()}
        (tmp_path / "x.json").write_text(json.dumps(dict(models=models)))
        return answer(q, tmp_path)

    agreed, not_all = found((60, 70), (30, 20)), found((90, 40), (30, 50))
    assert agreed["said"] == "Yes." and agreed["runs"] == "2 seeds, 100 crystals each: +30, +50 points"
    assert not_all["said"] == "Yes. Not with every seed, though." and "+60, -10" in not_all["runs"]
    assert found((30, 50), (90, 40))["said"] == "No. Not with every seed, though."
    assert "points" not in found((60,), (20,))["runs"]


@pytest.mark.parametrize("q", QUESTIONS, ids=lambda q: f"{q.file}: {q.ask}")
def test_a_stored_answer_turns_when_its_runs_are_exchanged(q):
    turned = dataclasses.replace(q, change=q.base, base=q.change)
    now, then = answer(q, ROOT / "results"), answer(turned, ROOT / "results")
    assert now["said"] != "not measured"
    if now["said"].startswith("Undecided"):
        assert then["said"] == now["said"]
    else:
        plain = lambda text: text.removeprefix("In one training: ").lower()
        assert {plain(now["said"]), plain(then["said"])} == {q.more.lower(), q.less.lower()}


@pytest.mark.parametrize("path", sorted((ROOT / "results/labs").glob("*.json")), ids=lambda p: p.name)
def test_a_stored_lab_can_go_on(path):
    "A lab goes on with a file of its own name alone (`compare`)."
    assert json.loads(path.read_text())["name"] == path.stem


def test_seeds_that_scatter_hide_what_labels_do():
    "Two labels ten points apart: distinguished where their seeds agree, not where these lie as far apart."
    each = lambda *counts: [dict(count=n, total=100) for n in counts]
    apart = seed_spread(dict(a=each(50, 51, 52), b=each(60, 61, 62)))
    assert "scatter by 1.0 points" in apart and "means by 7.1, where" in apart and "labels differ" in apart
    mixed = seed_spread(dict(a=each(40, 51, 62), b=each(50, 61, 72)))
    assert "those of a lie between 40 and 62 %" in mixed and "cannot be distinguished" in mixed
    assert "by 11.0 points" in mixed and "scatter them by 6.4." in mixed
    assert "differ" in seed_spread(dict(a=each(50, 50), b=each(60, 60)))
    assert "cannot" in seed_spread(dict(a=each(50, 50), b=each(50, 50)))
    assert seed_spread(dict(a=each(50), b=each(60))) == seed_spread(dict(a=each(50, 60))) == ""


def test_other_data_do_not_enter_a_lab_that_has_its_own(monkeypatch, tmp_path):
    trained = []
    monkeypatch.setattr(labs, "compare", lambda sources, *_, **__: trained.append(sources))
    monkeypatch.setattr(labs, "stored", lambda path: dict(models={}))
    monkeypatch.setattr(labs, "describe", lambda result: "")
    monkeypatch.setenv("DPCDVAE_LAB", "full")
    monkeypatch.setenv("DPCDVAE_LAB_DATA", "DIR/one,DIR/two")
    lab("x", {}, home=tmp_path)
    lab("x", {}, home=tmp_path, other_data=False)
    assert trained == [["DIR/one", "DIR/two"], ["perov_mini"]]


def test_every_question_has_a_lab_and_a_file_that_is_named():
    for q in QUESTIONS:
        assert (ROOT / "nbs" / f"{q.lab}.ipynb").exists() and q.more and q.less
        assert q.file.endswith(".json")


def kl_result(
    rates: dict, found: dict
) -> dict:  # weight -> matched of 40; weight -> found by (fitted, N(0, 1))
    "Make a sweep of the KL weight with given rates, three seeds alike."
    rate = lambda k, bits: {k: dict(count=bits.count("1"), total=40, value=bits.count("1") / 40)}
    bits = lambda n: "1" * n + "0" * (40 - n)
    models = {}
    for label, n in rates.items():
        back = rate("match_rate", bits(n)) | rate("strict_rate", bits(n // 2))
        back |= dict(matched=bits(n), strict=bits(n // 2))
        new = {
            p: rate("METRe", bits(f)) | dict(found=bits(f)) | rate("valid", bits(f))
            for p, f in zip(kl.PRIORS, found[label])
        }
        one = dict(label=label, weight=float(label), reconstruction={"z mean": back}, generations=new)
        models |= {f"{label}, seed {seed}": one | dict(seed=seed) for seed in (0, 1, 2)}
    return dict(models=models)


def test_the_answer_about_the_kl_weight_turns_with_its_data():
    names = [f"{w:g}" for w in kl.WEIGHTS]
    falling, found = dict(zip(names, (36, 36, 30, 10, 1))), {n: (20, 5) for n in names}
    said = kl.kl_answer(kl_result(falling, found))
    assert "With the KL weight 0.0001 90 % of" in said and "with 1 2 % (McNemar, decided" in said
    assert "lost on the way up to 0.01, 0.1 and 1, gained on the way up to none" in said
    assert said.count("the fitted prior is ahead at 0.0001, 0.001, 0.01, 0.1 and 1, N(0, 1) at none") == 2
    rising = dict(zip(names, reversed(falling.values())))
    said = kl.kl_answer(kl_result(rising, {n: (5, 20) for n in names}))
    assert "With the KL weight 0.1 90 % of" in said and "with 0.0001 2 % (McNemar, decided" in said
    assert "lost on the way up to none, gained on the way up to 0.001, 0.01 and 0.1" in said
    assert said.count("the fitted prior is ahead at none, N(0, 1) at 0.0001, 0.001, 0.01, 0.1 and 1") == 2
    flat = kl.kl_answer(kl_result({n: 20 for n in names}, {n: (9, 9) for n in names}))
    assert "undecided" in flat and "lost on the way up to none, gained on the way up to none" in flat


def test_a_seed_without_all_weights_is_left_out():
    names = [f"{w:g}" for w in kl.WEIGHTS]
    result = kl_result({n: 20 for n in names}, {n: (9, 9) for n in names})
    result["models"].pop("1, seed 2")
    assert {m["seed"] for m in kl.finished(result)["models"].values()} == {0, 1}
    assert len(kl.finished(result)["models"]) == 10


def test_a_sweep_that_is_not_stored_shows_nothing(tmp_path):
    assert kl.read(tmp_path) is None
    (tmp_path / "results/labs").mkdir(parents=True)
    names = [f"{w:g}" for w in kl.WEIGHTS]
    result = kl_result({n: 20 for n in names}, {n: (9, 9) for n in names})
    result["models"] = dict(list(result["models"].items())[:4])
    (tmp_path / "results/labs/kl.json").write_text(json.dumps(result))
    assert kl.read(tmp_path) is None


def test_nats_to_a_gaussian_are_those_of_torch():
    import torch
    from torch.distributions import MultivariateNormal, kl_divergence

    from dpcdvae.model.prior import GaussianPrior

    mean, log_var = torch.randn(30, 5, generator=torch.Generator().manual_seed(0)), -torch.ones(30, 5)
    prior = GaussianPrior(5)
    prior.fit(mean @ torch.randn(5, 5, generator=torch.Generator().manual_seed(1)), log_var)
    p = MultivariateNormal(prior.mean.double(), scale_tril=prior.factor.double())
    q = MultivariateNormal(mean.double(), torch.diag_embed(log_var.double().exp()))
    assert kl.nats_to(prior, mean, log_var) == pytest.approx(float(kl_divergence(q, p).mean()))


def test_what_is_said_of_new_crystals_follows_the_stored_runs(tmp_path):
    "With the files of chosen and unchosen crystals exchanged, the sentence says the opposite."
    names = [f"stability-{name}.json" for name in NEW]
    texts = [(ROOT / "results" / name).read_text() for name in names]
    for name, text in zip(names, (texts[1], texts[0], texts[3], texts[2])):
        (tmp_path / name).write_text(text)
    now, turned = creation(ROOT / "results"), creation(tmp_path)
    once = [re.search(r"drawn once: (\d+) %.*?left out: (\d+) %", said).groups() for said in (now, turned)]
    assert once[0] == once[1][::-1] and int(once[0][0]) < int(once[0][1])
