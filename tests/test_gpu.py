"""On a graphics card (`pytest -m gpu`).

Its numbers are the processor's, its crystals are the same for the same seed, its training learns and
resumes. Elsewhere the same comparisons run in single precision on the processor."""

import json

import pytest
import torch

from benchmarks.gpu import agreement_with_double, gpu_table, measure_card, measure_training, observe, relative
from dpcdvae.data.datasets import load_crystals
from dpcdvae.model.config import get_config
from dpcdvae.model.dpcdvae import DPCDVAE
from dpcdvae.model.training import train

card = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card on this machine")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, card])]
SINGLE, HALF = 2e-3, 0.2  # relative to double precision: the gradient is the worst of all


@pytest.fixture(scope="module")
def few():
    return load_crystals("perov_mini", split="test", progress=False)[:8]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("preset", ["tiny", "transformer", "gemnet", "paper-na", "cdvae"])
def test_numbers_are_those_of_double_precision(few, device, preset):
    crystals = (
        few
        if not preset.startswith(("paper", "cdvae"))
        else load_crystals("perov_mini", split="test", graph="crystalnn", progress=False)[:4]
    )
    found = agreement_with_double(crystals, device, preset)
    assert {"gradient", "denoiser", "loss, total", "loss, coord"} <= set(found["float32"])
    assert all(x < SINGLE for x in found["float32"].values()), found[
        "float32"
    ]  # a number that is none is not below
    assert found["float32"]["gradient"] < found["bfloat16"]["gradient"] < HALF, found["bfloat16"]


def test_a_wrong_number_is_seen(few):
    model = DPCDVAE(get_config("tiny", prior="standard"))
    model.prepare(few)
    right = observe(model.double(), few.to(torch.float64))
    with torch.no_grad():
        model.denoiser.gemnet.edge_embedding.target.weight.mul_(1.01)
    wrong = observe(model, few.to(torch.float64))
    assert relative(wrong["gradient"], right["gradient"]) > 1e-4


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "changes", [dict(), dict(surroundings_kinds=True, arrange=16)], ids=["species stay", "species swapped"]
)
def test_crystals_are_the_same_for_the_same_seed(few, device, changes):
    "Alone, or in a batch, and on the card nearly those of the processor."
    torch.manual_seed(0)
    model = DPCDVAE(get_config("tiny", prior="standard", **changes)).eval()
    model.prepare(few)
    model.fit_prior(few)
    make = lambda m, c: m.reconstruct(
        c, films=0, seed=3, steps=5, force=("num_atoms", "composition", "lattice")
    ).crystals.to("cpu")
    far = lambda a, b: (a.frac_coords - b.frac_coords - (a.frac_coords - b.frac_coords).round()).abs().max()
    here = make(model, few)
    there = make(model.to(device), few.to(device))
    alone = make(model, few[:1].to(device))
    assert torch.equal(there.atomic_numbers, here.atomic_numbers) and far(there, here) < 1e-3
    assert torch.equal(there.frac_coords, make(model, few.to(device)).frac_coords)
    assert torch.equal(alone.atomic_numbers, there[:1].atomic_numbers) and far(alone, there[:1]) < 1e-3


@pytest.mark.gpu
@card
def test_compiled_networks_on_a_card(few):
    assert measure_training(few.to("cuda"), 16, "tiny", 2, compiled=True)["seconds"] > 0


@pytest.mark.gpu
@card
def test_training_on_a_card_learns_and_goes_on(tmp_path):
    options = dict(preset="tiny", limit=64, quiet=True, prior="standard", batch_size=32)
    train("perov_mini", tmp_path / "run", max_epochs=2, **options)
    first = json.loads((tmp_path / "run/run.json").read_text())
    train("perov_mini", tmp_path / "run", max_epochs=6, resume=True, **options)
    second = json.loads((tmp_path / "run/run.json").read_text())
    assert second["steps"] == 3 * first["steps"] and second["best_val_loss"] < first["best_val_loss"]


@pytest.mark.gpu
@card
def test_a_card_is_measured_in_minutes(tmp_path):
    found = measure_card(
        "perov_mini", tmp_path / "gpu.json", "tiny", sizes=(64,), max_time="00:00:20", num=16, repeats=2
    )
    assert {"agreement", "training, batch 64", "reverse step, batch 64", "training", "reconstruction"} <= set(
        found["parts"]
    ) and "TFLOP/s" in gpu_table(found)
