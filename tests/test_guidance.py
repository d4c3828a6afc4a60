"Crystals with wanted properties: what guidance does, how it joins with constraints, and what is refused."

import copy
import json
import math
import shutil

import pytest
import torch

from dpcdvae import DPCDVAE
from dpcdvae.cli.app import main
from dpcdvae.data.composition import element_counts
from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import DataError
from dpcdvae.generation.constraints import Constraints, satisfied
from dpcdvae.generation.generate import generate
from dpcdvae.model.property_prior import (
    GuidedPrior,
    PropertyPrior,
    fit_property_prior,
    hide_values,
    load_property_prior,
    save_property_prior,
)

ENERGY = "energy_per_atom"


@pytest.fixture(scope="module")
def train():
    return load_crystals("perov_mini", split="train", progress=False)


@pytest.fixture(scope="module")
def model(train):
    model = DPCDVAE.from_pretrained("perov_mini")
    fit_property_prior(model, train, ENERGY, steps=150)
    return model


@pytest.fixture(scope="module")
def noise(model):
    return torch.randn(300, model.prior.noise_dim, generator=torch.Generator().manual_seed(1))


def counts_of(prior, noise):
    return prior.formulas(torch.special.ndtr(noise[:, prior.prior.dim :].double()))


def mean_energy(train):  # of an element: the mean over the crystals that hold it
    counts = (element_counts(train) > 0).double()
    return (counts.T @ train.properties[ENERGY].double()) / counts.sum(0).clamp_min(1)


def test_the_target_moves_formulas_as_far_as_guidance_says(model, train, noise):
    "Low energies ask for the elements of low energies; more guidance moves further, none does not move."
    by_element = mean_energy(train)
    low, high = train.properties[ENERGY].quantile(torch.tensor([0.05, 0.95])).tolist()
    energy = lambda target, w: float(
        (
            counts_of(GuidedPrior(model.property_prior, {ENERGY: target}, w), noise).double() @ by_element / 5
        ).mean()
    )
    free, lows, highs = (
        energy(low, 0.0),
        [energy(low, w) for w in (1.0, 3.0)],
        [energy(high, w) for w in (1.0, 3.0)],
    )
    assert free == energy(high, 0.0)
    assert lows[1] < lows[0] < free - 0.2 and free + 0.2 < highs[0] < highs[1]


def test_without_guidance_the_prior_is_the_unconditional_one(model, noise):
    guided, plain = GuidedPrior(model.property_prior, {ENERGY: -9.0}, 0.0), model.property_prior.prior
    torch.testing.assert_close(guided(noise), plain(noise), rtol=0, atol=1e-4)
    assert (
        counts_of(guided, noise) == plain.formulas(torch.special.ndtr(noise[:, plain.dim :].double()))
    ).all()


def test_strength_one_is_the_conditional_distribution(model):
    prior = model.property_prior
    guided = GuidedPrior(prior, {ENERGY: -8.0}, 1.0).formulas
    counts, size = torch.zeros(1, 100, dtype=torch.long), torch.tensor([5])
    given = prior.embed["formula"](prior.standardise(torch.tensor([[-8.0]])))
    h, _ = guided.read(counts, size)
    wanted, _ = prior.prior.formulas.read(counts, size, given)
    torch.testing.assert_close(guided.elements(h, counts), prior.prior.formulas.elements(wanted, counts))


def test_strong_guidance_draws_no_element_that_training_did_not_hold(model, train, noise):
    "What is said of such elements is noise, which a strength beyond 1 multiplies."
    unseen, other = element_counts(train).sum(0) == 0, copy.deepcopy(model.property_prior)
    with torch.no_grad():
        other.prior.formulas.element.bias[unseen] += 8.0
    drawn = lambda w: counts_of(GuidedPrior(other, {ENERGY: -8.0}, w), noise)
    assert drawn(1.0)[:, unseen].any()
    assert not drawn(1.5)[:, unseen].any() and (drawn(1.5).sum(-1) == 5).all()


def test_untrained_it_is_the_prior_of_the_model(noise):
    model = DPCDVAE.from_pretrained("perov_mini")
    prior = PropertyPrior(model.prior, ("a", "b")).requires_grad_(False).eval()
    prior.scale.fill_(1.0)
    torch.testing.assert_close(
        GuidedPrior(prior, {"b": 3.0}, 1.0)(noise), model.prior(noise), rtol=0, atol=1e-4
    )


def test_crystals_without_the_value_are_examples_too(train):
    "Half the values are unknown: they count for what is drawn without a target, not for the value's spread."
    some = train[:200]
    values = some.properties[ENERGY].clone()
    values[::2] = math.nan
    some = some.replace(properties={ENERGY: values})
    model = DPCDVAE.from_pretrained("perov_mini")
    found = fit_property_prior(model, some, [ENERGY], steps=5)
    assert found["num"] == {ENERGY: 100} and all(math.isfinite(found[k]) for k in ("size", "formula", "flow"))
    known = values[1::2]
    assert float(model.property_prior.loc) == pytest.approx(float(known.mean()))
    assert float(model.property_prior.least) == float(known.min())


def test_hidden_values_are_hidden_together_and_singly():
    shown = hide_values(torch.zeros(4000, 3), torch.Generator().manual_seed(0), 0.2)
    hidden = shown.isnan()
    assert abs(float(hidden.all(1).float().mean()) - (0.2 + 0.8 * 0.5**3)) < 0.02
    assert abs(float(hidden[:, 0].float().mean()) - (1 - 0.8 * 0.5)) < 0.03
    assert not hide_values(torch.zeros(50, 1), torch.Generator(), 0.0).isnan().any()


@pytest.mark.parametrize(
    "asked",
    [
        dict(required=("O",), forbidden=("Pb",)),
        dict(reduced_formula="SrTiO3"),
        dict(space_group=221, wyckoff=("a:Sr", "b:Ti", "c:O")),
        dict(cell=(4.0, 4.0, 4.0, 90.0, 90.0, 90.0), num_atoms=5),
    ],
)
def test_a_target_joins_with_every_constraint(model, asked):
    wanted = Constraints(**asked, target={ENERGY: -8.0}, guidance=2.0)
    made = generate(model, 4, constraints=wanted, steps=5, seed=2).crystals
    assert len(made) == 4 and satisfied(made, wanted).all()


def test_the_same_seed_makes_the_same_crystals(model):
    one = generate(model, 6, steps=4, seed=3, target={ENERGY: -8.0}, guidance=2.0).crystals
    two = generate(model, 6, steps=4, seed=3, target={ENERGY: -8.0}, guidance=2.0, block=2).crystals
    assert (one.atomic_numbers == two.atomic_numbers).all()
    torch.testing.assert_close(one.frac_coords, two.frac_coords, rtol=0, atol=2e-4)
    other = generate(model, 6, steps=4, seed=3, target={ENERGY: -3.0}, guidance=2.0).crystals
    assert sorted(one.atomic_numbers.tolist()) != sorted(other.atomic_numbers.tolist())


def test_a_job_without_a_target_is_recorded_as_before():
    "A folder that was begun before there were targets is gone on with."
    plain = Constraints(required=("Li",)).record()
    assert "target" not in plain and "guidance" not in plain and plain["required"] == ("Li",)
    assert Constraints(target={"gap": 1.0}, guidance=2.0).record()["target"] == (("gap", 1.0),)


def test_what_is_refused(model, train):
    plain = DPCDVAE.from_pretrained("carbon_mini")
    for wanted, words in (
        (dict(target={ENERGY: -8.0}), "never taught energy_per_atom"),
        (dict(target={ENERGY: "low"}), "not a finite number"),
        (dict(target={ENERGY: math.inf}), "not a finite number"),
        (dict(target={ENERGY: -8.0}, guidance=-1.0), "from 0 to 20"),
        (dict(guidance=2.0), "no target"),
    ):
        with pytest.raises(ValueError, match=words):
            generate(plain, 1, steps=2, **wanted)
    with pytest.raises(ValueError, match="knows no gap, only energy_per_atom"):
        generate(model, 1, steps=2, target=dict(gap=1.0))
    with pytest.warns(UserWarning, match="outside of what the model was taught"):
        generate(model, 1, steps=2, target={ENERGY: -50.0})
    with pytest.raises(ValueError, match="no property gap; they have: .*energy_per_atom"):
        fit_property_prior(model, train, "gap")
    with pytest.raises(ValueError, match="only 10 crystals have"):
        fit_property_prior(model, train[:10], ENERGY)


def test_the_file_belongs_to_its_model_and_is_checked(model, tmp_path):
    path = save_property_prior(model, tmp_path)
    raw, fresh = path.read_bytes(), lambda name: DPCDVAE.from_pretrained(name)
    other = fresh("perov-5")
    other.folder = tmp_path
    with pytest.raises(DataError, match="fitted to another model"):
        load_property_prior(other)
    mine = fresh("perov_mini")
    mine.folder = tmp_path
    assert load_property_prior(mine).names == (ENERGY,)
    for position in (len(raw) // 2, len(raw) - 3):
        path.write_bytes(raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :])
        mine.property_prior = None
        with pytest.raises(DataError, match="damaged"):
            load_property_prior(mine)
    path.write_bytes(raw[: len(raw) // 3])
    with pytest.raises(DataError, match="damaged or not a property prior"):
        load_property_prior(mine)


def test_the_pretrained_perovskites_know_heats_and_gaps():
    "A low heat of formation asks for oxides, a gap for closed shells; both come with the package."
    model = DPCDVAE.from_pretrained("perov-5")
    assert load_property_prior(model).names == ("heat_ref", "heat_all", "dir_gap")
    noise = torch.randn(400, model.prior.noise_dim, generator=torch.Generator().manual_seed(2))
    share = lambda z, **target: float(
        (counts_of(GuidedPrior(model.property_prior, target, 2.0), noise)[:, z - 1] > 0).float().mean()
    )
    oxygen, manganese = 8, 25
    assert share(oxygen, heat_ref=0.3) > share(oxygen, heat_ref=3.0) + 0.1
    assert share(manganese, heat_ref=0.3) > 2 * share(manganese, heat_ref=0.3, dir_gap=2.5)


def test_steer_and_generate_by_command(tmp_path, capsys):
    out, made = tmp_path / "steered", tmp_path / "new"
    words = f"steer --model perov_mini --data perov_mini --property {ENERGY} --steps 10 --out {out}"
    assert main([*words.split(), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num"] == {ENERGY: 841}
    assert {p.name for p in out.iterdir()} >= {"config.json", "model.safetensors", "property.safetensors"}
    assert main(words.split()) == 2 and "holds a model already" in capsys.readouterr().err
    asked = f"generate --model {out} --num 3 --steps 3 --out {made} --target {ENERGY}=-8 --guidance 2"
    assert main(asked.split()) == 0
    record = json.loads((made / "run.json").read_text())["constraints"]
    assert record["target"] == [[ENERGY, -8.0]] and record["guidance"] == 2.0
    assert len(load_crystals(made / "crystals.csv", progress=False)) == 3
    shutil.rmtree(made)
    assert main([*asked.split(), "--target", "gap=1"]) == 2
    assert "knows no gap" in capsys.readouterr().err and not made.exists()
