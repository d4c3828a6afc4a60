"Steering: the walk goes where the property falls, stays on known support, and the job says what it did."

import csv
import json

import pytest
import torch
from modules import Modules, group

summaries = group("summaries")
steer = Modules("dpcdvae.generation.optimize")
from dpcdvae.cli.app import main
from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.data.datasets import load_crystals
from dpcdvae.evaluation.validity import MetricsError
from dpcdvae.generation.optimize import (
    LatentSearch,
    PropertyHead,
    TrainingSupport,
    cost,
    descend,
    fit_support,
    optimize,
    search,
)
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE

pytestmark = pytest.mark.filterwarnings("ignore")
QUICK = LatentSearch(rounds=3, steps=6, points=2)


@pytest.fixture(scope="module")
def crystals():
    c = load_crystals("perov_mini", split="val", progress=False)[:40]
    return c.replace(properties=dict(volume=c.lattice.det().abs() / c.num_atoms))


@pytest.fixture(scope="module")
def model(crystals):
    torch.manual_seed(0)
    m = DPCDVAE(get_config("tiny"))
    m.prepare(crystals)
    return m.eval()


@pytest.fixture(scope="module")
def surveyed(model, crystals):
    return steer.survey(model, crystals, "volume", steps=60)


def test_cost_counts_the_disagreement():
    head = PropertyHead(2, num_networks=2)
    head.sd.fill_(2.0), head.mean.fill_(10.0)
    head.each = lambda z: torch.stack(
        [torch.full((len(z),), 12.0), torch.full((len(z),), 16.0)]
    )  # mean +2 spreads, half-width 1 spread
    z = torch.zeros(3, 2)
    assert (
        cost(head, z, LatentSearch(caution=0.0)).tolist() == [2.0] * 3
        and cost(head, z, LatentSearch(caution=1.0)).tolist() == [3.0] * 3
    )
    assert cost(head, z, LatentSearch(caution=1.0, maximise=True)).tolist() == [-1.0] * 3


def test_the_walk_does_not_touch_its_start_and_starts_do_not_touch_each_other(surveyed):
    head = surveyed[0]
    z = torch.randn(4, head.loc.shape[0], generator=torch.Generator().manual_seed(0))
    kept = z.clone()
    all_of_them, one = descend(head, z, QUICK), descend(head, z[2:3], QUICK)
    assert torch.equal(z, kept) and all_of_them.shape == (2, *z.shape)
    assert torch.allclose(all_of_them[:, 2:3], one, atol=1e-5)


def test_the_head_beats_the_mean(surveyed):
    said = surveyed[2]
    assert said["held_out_mae"] < 0.8 * said["mae_of_the_mean"] and said["num"] == 40


def test_nothing_is_taken_off_the_ground(model, crystals, surveyed):
    head, support, _ = surveyed
    nowhere = TrainingSupport(support.means, support.width, 0.0, support.patterns)
    taken, expected = search(
        model, head, nowhere, crystals[:2], torch.arange(2), QUICK, steer.Sampling(sampler="ddim", steps=2)
    )
    assert [c for r in taken for c in r] == [None] * 6 and expected.isnan().all()
    other = TrainingSupport(support.means, support.width, support.limit * 100, frozenset({(7,)}))
    assert (
        search(
            model, head, other, crystals[:2], torch.arange(2), QUICK, steer.Sampling(sampler="ddim", steps=2)
        )[0][-1]
        == [None] * 2
    )


def test_costs_never_rise_from_round_to_round(model, crystals, surveyed):
    head, support, _ = surveyed
    wide = TrainingSupport(
        support.means,
        support.width,
        1e9,
        frozenset(p for n in range(1, 25) for p in [(n,)])
        | support.patterns
        | frozenset(steer.patterns(crystals)),
    )
    settings = LatentSearch(rounds=4, steps=6, points=2, caution=0.0)
    _, expected = search(
        model, head, wide, crystals[:4], torch.arange(4), settings, steer.Sampling(sampler="ddim", steps=2)
    )
    known = expected.isfinite().all(0)
    assert (expected[:, known].diff(dim=0) <= 1e-5).all()


def test_the_trust_region_keeps_the_search_near_the_training_set(surveyed):
    head, support, _ = surveyed
    starts, far = (
        support.means[:3] * support.width,
        LatentSearch(rounds=1, steps=80, points=2, tether=0.0, rate=0.05),
    )
    free, held = (support.distance(descend(head, starts, far, g)[-1]) for g in (None, support))
    assert (free > 2 * support.limit).all() and (held < 1.3 * support.limit).all()


def test_a_crystal_that_was_not_asked_for_is_not_taken(crystals, surveyed):
    _, support, _ = surveyed
    z = support.means[:2] * support.width
    assert support.holds(z, crystals[:2], z).tolist() == [True, True]
    elsewhere = z + 1.1 * support.limit * support.width  # a root mean square just beyond the limit
    assert support.holds(z, crystals[:2], torch.stack([z[0], elsewhere[1]])).tolist() == [True, False]


def test_the_search_decodes_with_the_models_own_sampler(model, crystals, tmp_path):
    optimize(
        model,
        crystals[:1],
        crystals,
        "volume",
        tmp_path,
        LatentSearch(rounds=1, steps=1, points=1),
        head_steps=2,
    )
    said = json.loads((tmp_path / "run.json").read_text())
    assert (said["sampler"], said["steps"]) == (
        model.config.sampling.sampler,
        steer.DECODE_STEPS,
    ) and steer.DECODE_STEPS <= model.config.diffusion.num_steps


def test_support_leaves_each_crystal_out():
    means = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    assert fit_support(means, torch.zeros(4, 1), CrystalBatch.cat([toy("Cu")] * 4)).limit == pytest.approx(
        1.0
    )


def test_unknown_values_are_left_out_and_few_are_refused(model, crystals):
    values = crystals.properties["volume"].clone()
    values[:10] = torch.nan
    assert (
        steer.survey(model, crystals.replace(properties=dict(volume=values)), "volume", steps=2)[2]["num"]
        == 30
    )
    values[:30] = torch.nan
    with pytest.raises(ValueError, match="volume is known of 10 of 40 crystals"):
        steer.survey(model, crystals.replace(properties=dict(volume=values)), "volume", steps=2)


def test_folder_holds_every_round_of_every_start(model, crystals, tmp_path):
    optimize(model, crystals[:3], crystals, "volume", tmp_path, QUICK, head_steps=20, steps=2)
    rows, hopes = (
        list(csv.DictReader(open(tmp_path / n, newline=""))) for n in ("crystals.csv", "expected.csv")
    )
    assert (
        [r["material_id"] for r in rows]
        == [f"{crystals.name(i)}-{k}" for i in range(3) for k in (1, 2, 3)]
        == [h["material_id"] for h in hopes]
    )
    assert all(bool(r["cif"]) != bool(r["error"]) for r in rows) and all(
        bool(r["cif"]) == bool(h["expected"]) for r, h in zip(rows, hopes)
    )
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["kind"] == "optimise" and run["property"] == "volume" and run["walk"]["rounds"] == 3


def test_success_needs_the_property_that_was_optimised(tmp_path):
    (tmp_path / "run.json").write_text(
        json.dumps(dict(kind="optimise", property="heat", walk=dict(rounds=1, maximise=False)))
    )
    src = load_crystals("perov_mini", split="val", progress=False)
    (tmp_path / "crystals.csv").write_text("index,material_id,cif,error\n0,a,,nothing found\n")
    with pytest.raises(MetricsError, match="heat was optimised, not energy_per_atom"):
        summaries.evaluate(
            tmp_path, test=src, property="energy_per_atom", fingerprints=True, workers=1, progress=False
        )


def test_command_refuses_what_it_cannot_use(model, tmp_path, capsys):
    folder = model.save(tmp_path / "model")
    (tmp_path / "x.csv").write_text("material_id,cif\n")
    for args, words in (
        (("--data", tmp_path / "x.csv", "--property", "volume"), "no test split and no train split"),
        (("--data", "perov_mini", "--property", "hardness", "--limit", 2), "no property 'hardness'"),
    ):
        assert main(["optimise", "--model", *map(str, (folder, "--out", tmp_path / "out", *args))]) == 2
        assert words in capsys.readouterr().err
