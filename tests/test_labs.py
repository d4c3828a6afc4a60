"""The tests by which labs decide: paired, with an interval, and the other way round for reversed data"""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from scipy.stats import binom

from benchmarks import kl, labs
from benchmarks.lab_answers import (
    ENDS,
    SUSPECTS,
    baseline_answer,
    end_of,
    gine_answer,
    gine_perov_answer,
    kl_perov_answer,
    regained_answer,
    torus_answer,
    trust_answer,
    twins_answer,
)
from benchmarks.labs import (
    compared,
    conclusion,
    differences,
    lab,
    lab_rates,
    mcnemar,
    seed_spread,
    seen,
    smallest_decidable,
)
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


def test_what_would_be_seen_grows_with_the_comparisons():
    "20 of 100 change: 12.5 points by one comparison; by ten z is 2.81, not 1.96."
    test, _ = compared(scores("1" * 10 + "0" * 90), scores("0" * 10 + "1" * 10 + "0" * 80))
    assert seen(test, 1) == pytest.approx(2.8 * 20**0.5 / 100, rel=1e-3)
    assert seen(test, 10) == pytest.approx((2.807 + 0.84) * 20**0.5 / 100, rel=1e-3)
    assert f"about {100 * seen(test, 10):.0f} points" in conclusion(test, 10)


def test_no_smaller_difference_is_promised_than_a_test_can_decide():
    "Six crystals of 100 that changed one way have p = 0.03, five 0.06; four comparisons need eight."
    same, _ = compared(scores("1" * 50 + "0" * 50), scores("1" * 50 + "0" * 50))
    assert (seen(same, 1), seen(same, 4)) == (0.06, 0.08)
    won = lambda n: compared(scores("1" * n + "0" * (100 - n)), scores("0" * 100))[0]
    assert "**more**" in conclusion(won(6), 1) and "undecided" in conclusion(won(5), 1)
    assert "**more**" in conclusion(won(8), 4) and "undecided" in conclusion(won(7), 4)
    unpaired = lambda n: compared([dict(count=n, total=100)], [dict(count=0, total=100)])[0]
    least = round(100 * smallest_decidable(unpaired(0), 0.05))
    assert unpaired(least)["p"] < 0.05 <= unpaired(least - 1)["p"]


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
    assert now["said"] != "not measured" and now["decided"] == then["decided"]
    if not now["decided"]:
        assert then["said"] == now["said"] and now["said"].startswith(q.undecided)
    else:
        plain = lambda text: text.removeprefix("In one training: ").replace(q.nothing or "-", q.less).lower()
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
    rates: dict,  # weight -> matched of 40
    found: dict,  # weight -> found by (fitted, N(0, 1))
    above=(8,) * 5,  # dimensions above noise, of 8, one a weight
) -> dict:
    "Make a sweep of the KL weight with given rates, three seeds alike."
    rate = lambda k, bits: {k: dict(count=bits.count("1"), total=40, value=bits.count("1") / 40)}
    bits = lambda n: "1" * n + "0" * (40 - n)
    models = {}
    for (label, n), heard in zip(rates.items(), above):
        back = rate("match_rate", bits(n)) | rate("strict_rate", bits(n // 2))
        back |= dict(matched=bits(n), strict=bits(n // 2))
        new = {
            p: rate("METRe", bits(f)) | dict(found=bits(f)) | rate("valid", bits(f))
            for p, f in zip(kl.PRIORS, found[label])
        }
        one = dict(label=label, weight=float(label), reconstruction={"z mean": back}, generations=new)
        one |= dict(latent=dict(dim=8, above_noise=heard, active=8, nats=5.0))
        models |= {f"{label}, seed {seed}": one | dict(seed=seed) for seed in (0, 1, 2)}
    return dict(models=models)


def test_the_answer_about_the_kl_weight_turns_with_its_data():
    names = [f"{w:g}" for w in kl.WEIGHTS]
    falling, found = dict(zip(names, (36, 36, 30, 10, 1))), {n: (20, 5) for n in names}
    said = kl.kl_answer(kl_result(falling, found))
    assert "90 % of the held-out crystals match with the weight 0.0001, 2 % with 1 (decided" in said
    assert "lost at the steps to 0.01, 0.1 and 1, and gained at no step" in said
    assert "0.01 costs -15 points, as predicted" in said and "2 % match with 1;" in said
    assert said.count("the fitted prior is ahead at 0.0001, 0.001, 0.01, 0.1 and 1, N(0, 1) at none") == 2
    rising = dict(zip(names, reversed(falling.values())))
    said = kl.kl_answer(kl_result(rising, {n: (5, 20) for n in names}))
    assert "90 % of the held-out crystals match with the weight 0.1, 2 % with 0.0001 (decided" in said
    assert "lost at no step, and gained at the steps to 0.001, 0.01 and 0.1" in said
    assert "0.001 the weight changes it (+22 points), against the prediction" in said
    assert said.count("the fitted prior is ahead at none, N(0, 1) at 0.0001, 0.001, 0.01, 0.1 and 1") == 2
    flat = kl.kl_answer(kl_result({n: 20 for n in names}, {n: (9, 9) for n in names}))
    assert "(undecided" in flat and "lost at no step, and gained at no step" in flat
    assert "changes nothing that could be seen" in flat and "0.01 shows no loss" in flat


def test_a_latent_vector_falls_silent_where_its_dimensions_do():
    names = [f"{w:g}" for w in kl.WEIGHTS]
    result = kl_result({n: 20 for n in names}, {n: (9, 9) for n in names}, (8, 8, 6, 3, 0))
    said = kl.silent_answer(result)
    assert "falls silent at 0.1, the first" in said and "8 with 0.0001, 8 with 0.001, 6 with 0.01" in said
    turned = kl_result({n: 20 for n in names}, {n: (9, 9) for n in names}, (0, 3, 6, 8, 8))
    assert "falls silent at 0.0001, the first" in kl.silent_answer(turned)
    full = kl_result({n: 20 for n in names}, {n: (9, 9) for n in names})
    assert "does not fall silent" in kl.silent_answer(full)


@pytest.mark.parametrize("best", (0, 4))
def test_where_generation_is_best_is_compared_with_the_prediction(best):
    "Best at the smallest weight under the fitted prior and at the largest under the other, or turned round."
    names = [f"{w:g}" for w in kl.WEIGHTS]
    counts = {n: (30 if i == best else 10, 30 if i == 4 - best else 10) for i, n in enumerate(names)}
    said = kl.generation_answer(kl_result({n: 20 for n in names}, counts))
    assert f"at most 75 % with the weight {names[best]} are" in said
    as_predicted = ("(as predicted: a small" in said, "(as predicted: a large" in said)
    assert (
        as_predicted == (best == 0, best == 0) and "the two best cannot be distinguished (+0 points" in said
    )


def test_what_another_preset_loses_is_compared_with_the_sweep():
    names = [f"{w:g}" for w in kl.WEIGHTS]

    def said(new, old, rates=(20,) * 5):
        rate = lambda n: {"free, mean": dict(match_rate=dict(count=n, total=40))}
        models = {"KL weight 0.01": rate(new), "as it is": rate(old)}
        switches = dict(models={k: dict(label=k, reconstruction=r) for k, r in models.items()})
        return kl.elsewhere(kl_result(dict(zip(names, rates)), {n: (9, 9) for n in names}), switches)

    assert "came out otherwise there" in said(8, 38) and "from 95 % to 20 % in 1 training" in said(8, 38)
    assert "came out otherwise there" in said(38, 8) and "from 20 % to 95 %" in said(38, 8)
    assert "came out alike" in said(20, 20) and "came out alike" in said(8, 38, (36, 36, 10, 5, 5))


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
    pair = r"drawn once: (\d+) %.*?left out: (\d+) % of \d+ \(Fisher's p = ([^)]*)\)"
    for each, reverse in zip(re.findall(pair, now), re.findall(pair, turned)):  # metastable; and novel
        assert each[:2] == reverse[:2][::-1] and int(each[0]) < int(each[1]) and each[2] == reverse[2]
        assert float(each[2]) < 1e-3
    assert len(re.findall(pair, now)) == 2 and "choosing alone brings was not measured" in now


def test_a_match_of_another_energy_is_another_minimum():
    rows = [dict(back=True, left=0.2), dict(back=True, left=-300.0), dict(back=False, left=0.1), dict()]
    assert [end_of(r) for r in rows] == [*ENDS, "no match"]
    chance = dict(value=0.64, count=34, total=53)

    def said(lefts):
        means = {k: dict(value=0.0, low=0.0, high=0.0, count=4) for k in ("above", "left")}
        crystals = [dict(back=True, left=x) for x in lefts]
        return regained_answer(dict(crystals=crystals, metrics=means, reasons={}), chance)

    assert "4 of 4 crystals match" in said([0.0] * 4) and "64 % in this set (34 of 53)" in said([0.0] * 4)
    assert "4 of 4 are in the same minimum" in said([0.0] * 4) and "0 end more" in said([0.0] * 4)
    assert "1 of 4 are in the same minimum" in said([0.0, 50.0, -50.0, -90.0])
    assert "2 end more" in said([0.0, 50.0, -50.0, -90.0]) and "1 end more" in said([0.0, -50.0, 50.0, 90.0])


def by_label(reading: str, **rates) -> dict:  # label -> metric -> outcomes of 100
    "Make the result of a comparison."
    kept = dict(match_rate="matched", strict_rate="strict")
    models = {}
    for label, metrics in rates.items():
        found = {}
        for metric, n in metrics.items():
            found[metric] = dict(count=n, total=100, value=n / 100)
            found |= {kept[metric]: "1" * n + "0" * (100 - n)} if metric in kept else {}
        models[label] = dict(label=label.replace("_", " "), reconstruction={reading: found})
    return dict(models=models)


def test_a_baseline_is_beaten_by_species_or_by_places():
    rates = lambda match, exact, places: dict(
        match_rate=match, composition_exact=exact, match_rate_anonymous=places
    )
    said = lambda a, b: baseline_answer(by_label("composition forced", paper=rates(*a), cdvae=rates(*b)))
    ours, theirs = (60, 80, 60), (30, 50, 90)
    assert "So DP-CDVAE matches more because" in said(ours, theirs) and "CDVAE is ahead" in said(ours, theirs)
    assert "So CDVAE matches more because" in said(theirs, ours)
    assert "with species ignored DP-CDVAE is ahead" in said(theirs, ours)
    assert "because" not in said((60, 80, 90), (30, 50, 60)) and "because" not in said(ours, ours)


GINES = ("without GINE", "GINE as released", *SUSPECTS, "Gaussian, recentred", "Gaussian")


@pytest.mark.parametrize("cost, back, centred", [(0, 0, 0), (40, 40, 40), (-40, 0, -40)])
def test_gine_is_convicted_by_what_was_measured(cost, back, centred):
    counts = dict.fromkeys(GINES, 50) | {"without GINE": 50 + cost, "mean over the atoms": 50 + back}
    counts["Gaussian, recentred"] += centred
    each = {k: dict(match_rate=n, strict_rate=n) for k, n in counts.items()}
    said = gine_answer(by_label("free, mean", **each))
    effects = {0: "costs nothing that could be seen by", 40: "costs matches by", -40: "helps by"}
    assert f"GINE as released {effects[cost]}" in said
    assert ("come back with mean over the atoms" in said) == (back > 0) != ("No suspect" in said)
    assert {0: "is undecided", 40: "brings matches", -40: "costs matches"}[centred] in said.split(
        "Recentring"
    )[1]


@pytest.mark.parametrize("alone, published, centred", [(0, 0, 0), (40, -40, 40), (-40, 40, -40)])
def test_gine_on_perov_5_is_convicted_pair_by_pair(alone, published, centred):
    counts = {
        "without GINE": 50,
        "GINE as released": 50 - alone,
        "paper": 50,
        "paper-gine": 50 - published,
        "paper-gine, recentred": 50 - centred,
    }
    each = {k: dict(match_rate=n, strict_rate=50) for k, n in counts.items()}
    said = gine_perov_answer(by_label("composition forced", **each))
    effects = {0: "costs nothing that could be seen", 40: "costs matches", -40: "helps"}
    parts = said.split("GINE as released ")[1].split("; ")
    for part, effect in zip(parts, (alone, published, centred)):
        assert effects[effect] in part and ("by either rule" in part) == (effect == 0)


@pytest.mark.parametrize("free, forced", [(0, 0), (-40, 0), (40, -40)])
def test_the_kl_weight_costs_what_was_measured(free, forced):
    def counts(reading, n):
        rates = lambda n: dict(match_rate=n, composition_exact=n)
        return by_label(reading, **{"KL weight 0.01": rates(50 + n), "KL weight 0.001": rates(50)})["models"]

    models = counts("free, mean", free)
    for name, model in counts("composition forced", forced).items():
        models[name]["reconstruction"] |= model["reconstruction"]
    said = kl_perov_answer(dict(models=models))
    read, given = said.split("; with the composition given match ")
    ways = {0: "about as many (undecided)", -40: "fewer", 40: "more"}
    assert f"match {ways[free]} ({50 + free} against 50 %) where" in read and given.startswith(ways[forced])


def test_a_gaussian_loses_where_its_rates_do():
    def result(rates: dict) -> dict:  # reading -> rates of the Gaussian, by both rules
        models = {}
        for label in ("Gaussian", "wrapped normal"):
            found = {}
            for reading, (n, m) in rates.items():
                n, m = (n, m) if label == "Gaussian" else (90, 60)
                one = by_label(reading, x=dict(match_rate=n, strict_rate=m))
                found |= one["models"]["x"]["reconstruction"]
            models[label] = dict(label=label, reconstruction=found)
        return dict(models=models)

    def said(field, strict, end):
        small = dict(zip(("modified", "ddpm", "ddim"), zip(field, strict)))
        boundary = {"ddim, every step": (50, 0), "ddim, at the end": (end, 0)}
        return torus_answer(result(small), result(boundary))

    alone = said((90, 90, 50), (60, 60, 60), 90)
    assert "So it is: by the field's rule it loses with ddim, by the strict one with none" in alone
    assert "By the field's rule ddim suffers most (50 against 90 %)" in alone
    assert "100 % of the difference, most of the loss" in alone
    turned = said((50, 90, 90), (10, 60, 60), 52)
    assert "otherwise: by the field's rule it loses with modified, by the strict one with modified" in turned
    assert "By the strict one modified suffers most (10 against 60 %)" in turned
    assert "5 % of the difference, less than half of the loss" in turned


def test_memory_of_a_twin_is_seen_where_twins_match_more():
    def said(with_twin, without, exact=80, alike=100):
        count = lambda n, total: dict(count=n, total=total, value=n / total)
        m = dict(match_rate=count(with_twin + without, 100), match_rate_twin_free=count(without, 50))
        m |= dict(composition_exact=count(exact, 100), match_rate_anonymous=count(alike, 100))
        return twins_answer("a", m, 3000)

    assert "up to 60 points of the match rate" in said(40, 10)
    assert "50 of 100 test crystals have a twin among the 3,000 training" in said(40, 10)
    assert "a twin does not help" in said(10, 40) and "no memory was seen" in said(25, 25)
    assert "20 are lost by composition and 30 by arrangement" in said(40, 10)
    assert "places or arrangement" in said(40, 10, alike=90)


def test_a_surrogate_is_compared_source_by_source():
    both = lambda source, *pairs: [dict(source=source, surrogate=a, second=b) for a, b in pairs]
    near, far = (
        both("generated", *[(90 * k, 100 * k) for k in (1, 2, 3)]),
        both("four-calls", *[(1500 * k, 1000 * k) for k in (1, 2, 3)]),
    )
    said = trust_answer(dict(crystals=near + far)).splitlines()
    assert "Nearer to rest" in said[0] and "by -20 [" in said[0] and "-10 % of the energy" in said[0]
    assert "Far from rest" in said[1] and "by +1000 [" in said[1] and "+50 % of the energy" in said[1]
