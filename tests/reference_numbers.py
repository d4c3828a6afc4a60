"""Losses, gradients and crystals of fixed seeds: a change of the code's form must leave them alone.

`python tests/reference_numbers.py FILE` writes them; `tests/test_reference_numbers.py` compares.
The crystals are stored as tensors, so that no reader has a say."""

import json
import sys
import warnings
from pathlib import Path

import torch

from dpcdvae import DPCDVAE, CrystalBatch

MODELS = ("perov_mini", "carbon_mini", "mp-20")


def stored_crystals(name: str) -> CrystalBatch:
    "Six test crystals of an embedded set."
    fields = json.loads((Path(__file__).parent / "reference_crystals.json").read_text())[name]
    return CrystalBatch(**{k: torch.tensor(v) for k, v in fields.items()})


def gradient_norms(model, crystals) -> dict:
    "Norm of the loss's gradient in each part of the model."
    model.zero_grad()
    model.losses(crystals, torch.Generator().manual_seed(1)).total.mean().backward()
    return {
        name: float(
            sum(p.grad.double().square().sum() for p in part.parameters() if p.grad is not None) ** 0.5
        )
        for name, part in model.named_children()
    }


def numbers_of(name: str) -> dict:
    "Numbers of one pretrained model."
    model = DPCDVAE.from_pretrained(name)
    crystals = stored_crystals("carbon_mini" if name.startswith("carbon") else "perov_mini")
    losses = model.losses(crystals, torch.Generator().manual_seed(0))
    rebuilt = model.reconstruct(crystals, seed=0, steps=6)
    swaps = model.config.sampling.swap_species  # as new crystals were made when the numbers were stored
    new = model.generate(6, seed=3, steps=6, swap_species=swaps)
    place = lambda t: [round(float(x), 5) for x in t.frac_unwrapped[-1].double().flatten()]
    cell = lambda t: [round(float(x), 4) for x in (*t.lengths, *t.angles)]
    return dict(
        losses={k: float(v) for k, v in losses.means().items()},
        gradients=gradient_norms(model.train().requires_grad_(True), crystals),
        reconstructed=[place(t) for t in rebuilt],
        generated=[dict(formula=t.formula, cell=cell(t), places=place(t)) for t in new],
    )


def main(path: str) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    Path(path).write_text(json.dumps({name: numbers_of(name) for name in MODELS}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
