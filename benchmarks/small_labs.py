"""Four open questions in small: three seeds, the same held-out crystals, both rules of matching

`python -m benchmarks.small_labs` trains small models that differ in one choice and writes a file of results
of labs A, B, D, E, G and M after each model; what is there is not done again. `--only torus gine` takes some;
`paths`, `gine-perov` and `kl-perov` need `--perov-5 DIR`, the folder of Perov-5's official splits, and
`gine-carbon` needs `--carbon-24 DIR`.

Plan, committed before the first result. Every model is small (the preset tiny, or a preset of the papers with
its networks cut to that size), trained on perov_mini with one thread for a number of epochs that is the same
within a lab, with seeds 0, 1 and 2; each reconstructs the same 150 held-out crystals. Tests: McNemar, exact,
the three seeds together (450 pairs), by the field's rule and by the strict one (fit, stol 0.1), 5 % shared
among a list. Power: where a fifth of the pairs change, four of five such experiments show 6 points. A pilot
with seed 9 (not part of the results) measured the time: about a minute of processor time a model.

- baseline (A): do the four DP-CDVAE presets and CDVAE differ in the match rate with the composition given,
  after 32 epochs? Prediction: DDPM on fractional coordinates is ahead of CDVAE in so short a training.
- schedules (B): eight noise schedules of the Gaussian process, 16 epochs. Prediction: sigmoid is ahead of
  linear, quadratic and cosine, and zero terminal SNR changes little.
- gine (D): GINE as released, and one suspect replaced at a time, 16 epochs. Prediction: no difference by the
  field's rule, where all are near 100 %; by the strict rule GINE as released is no better than none.
- torus (E): wrapped normal or Gaussian, drift, frame, three samplers, 16 epochs. Prediction: the Gaussian
  process loses with DDIM alone.

Changed before a model of baseline, schedules or gine was trained, because the machine was shared and
slow: half the epochs (16 of baseline, 8 of the others) and fewer function evaluations (200 and 20).

All four have been run. Lab A keeps its older run next to it: the papers' sizes, ten minutes each, one seed.

Lab G (skip connections) was planned on perov_mini too and stopped after two models of one seed, which
matched alike (92 and 91 %). A guess is that perovskites of perov_mini seldom come with A and B exchanged, as
those of Perov-5 do, so that it cannot tell what the path of the environment brings. Planned anew, before the
first result, on the first 3,408 training crystals of Perov-5 and 256 of its test set:

- paths (G): all skip connections, without the environment's, without the cell's too, with none, 16 epochs,
  50 function evaluations. Prediction: without the environment the match rate falls to about half, and with
  the species ignored it does not fall; without the cell the strict rate falls further; without any the
  composition is lost first. With 768 pairs of which a fifth change, 5 points would be seen.

The older runs of two full-size models of one seed stay next to it.

The paper sees GINE lower the match rate on Carbon-24, too, where perov_mini says nothing. Planned before the
first result, on Carbon-24 (stand-in split), 256 of its test set:

- gine-carbon (D): the preset transformer, which learns carbon fastest here, without the skip connection of
  the environment, so that all there is to know of the places comes by the encoder; with GINE as released and
  without it, 12 epochs, 50 function evaluations. Prediction: no difference, for what DimeNet++ knows of
  carbon GINE knows less well. With 768 pairs of which a fifth change, 5 points would be seen.

On Perov-5 itself, where the paper sees the loss and one full-size training each shows 33 against 64 %, there
were no seeds yet. Planned before the first result, on the first 3,408 training crystals of Perov-5 and 256 of
its test set, 16 epochs, 200 function evaluations, the composition given:

- gine-perov (D): tiny without the skip connection of the environment, so that z alone says which cation is
  A, with GINE as released and without it; and `paper` and `paper-gine` cut to that size, and `paper-gine`
  recentred as `paper` is. Prediction: tiny shows no difference; `paper-gine` falls behind `paper` by more
  than 5 points, recentred or not. With 768 pairs of which a fifth change, 5 points would be seen; 6 by two
  comparisons. The suspects follow one at a time if GINE alone costs matches.

The KL weight of 0.01 cost Perov-5 its composition in one full-size training (20 against 95 %), and nothing
that could be seen in small models on perov_mini. Planned before the first result, on the crystals of paths,
16 epochs, 50 function evaluations:

- kl-perov (M): tiny with the weights 0.001 and 0.01. Prediction: with 0.01 fewer match where the composition
  is read from z, by more than 5 points; with the composition given they match alike.

Our mind would change where a list's test decides the other way. Times on a machine that does other things are
no measure; processor time is."""

import argparse
from pathlib import Path

from benchmarks.studies import FREE_AND_FORCED, PAPERS, READINGS, compare

SEEDS = (0, 1, 2)
QUICK = {"latent.prior": "fitted"}  # a Gaussian, fitted in a second
SIZE = {  # of the preset tiny, for the papers' presets
    "encoder.graph": "nearest",
    "encoder.num_neighbors": 8,
    "encoder.num_blocks": 1,
    "denoiser.num_blocks": 2,
    "denoiser.num_neighbors": 10,
    "denoiser.edge_dim": 96,
    "denoiser.atom_dim": 96,
    "denoiser.trip_dim": 32,
    "denoiser.cbf_dim": 8,
    "denoiser.num_radial": 32,
    "denoiser.num_atom_residuals": 1,
    "denoiser.num_output_residuals": 1,
}
GAUSSIAN = {"diffusion.process": "gaussian", "diffusion.schedule": "sigmoid"}
GINE = {"encoder.gine": True}
SCHEDULES = [f"{b}{end}" for end in ("", "+ztsnr") for b in ("sigmoid", "linear", "quadratic", "cosine")]
SOME = {"limit": 3408}  # training crystals
BLIND = SOME | {"latent.environment_skip": False}
BLIND_CARBON = {
    "latent.environment_skip": False,
    "latent.species_aware": False,
    "sampling.swap_species": 0,
}
DRIFT, CARTESIAN = {"denoiser.mean_free": False}, {"denoiser.frame": "cartesian"}


SHORT = dict(max_epochs=8, steps=20)


def small(**variants) -> dict:  # label -> (preset, changes)
    "Name small models that differ from the preset tiny in some settings."
    return {label.replace("_", " "): ("tiny", QUICK | changes) for label, changes in variants.items()}


LABS = {
    "torus": dict(
        variants=small(
            wrapped_normal={},
            drift_left_in=DRIFT,
            Cartesian_frame=CARTESIAN,
            Gaussian=GAUSSIAN,
            **{"Gaussian, drift, Cartesian": GAUSSIAN | DRIFT | CARTESIAN},
        ),
        readings={name: dict(sampler=name) for name in ("modified", "ddpm", "ddim")},
    ),
    "gine": dict(
        variants=small(
            without_GINE={},
            GINE_as_released=GINE,
            mean_over_the_atoms=GINE | {"encoder.gine_pool": "mean"},
            distance_on_a_basis=GINE | {"encoder.gine_distance": "gaussian"},
            joined_by_a_line=GINE | {"encoder.fusion": "line"},
            all_three=GINE
            | {"encoder.gine_pool": "mean", "encoder.gine_distance": "gaussian", "encoder.fusion": "line"},
            **{"Gaussian, recentred": GAUSSIAN | {"diffusion.recenter": True}, "Gaussian": GAUSSIAN},
        ),
        **SHORT,
    ),
    "baseline": dict(
        variants={label: (preset, SIZE) for label, (preset, _) in PAPERS.items()}, max_epochs=16, steps=200
    ),
    "schedules": dict(
        variants=small(**{s: GAUSSIAN | {"diffusion.schedule": s} for s in SCHEDULES}),
        readings={"free, mean": READINGS["free, mean"]},
        num_new=64,
        **SHORT,
    ),
    "gine-perov": dict(
        variants={
            "without GINE": ("tiny", QUICK | BLIND),
            "GINE as released": ("tiny", QUICK | BLIND | GINE),
            "paper": ("paper", SIZE | SOME),
            "paper-gine": ("paper-gine", SIZE | SOME),
            "paper-gine, recentred": ("paper-gine", SIZE | SOME | {"diffusion.recenter": True}),
        },
        num=256,
        steps=200,
    ),
    "kl-perov": dict(
        variants={
            f"KL weight {weight:g}": ("tiny", QUICK | SOME | {"losses.kl": weight})
            for weight in (0.001, 0.01)
        },
        num=256,
    ),
    "gine-carbon": dict(
        variants={
            label: ("transformer", QUICK | BLIND_CARBON | changes)
            for label, changes in {"without GINE": {}, "GINE as released": GINE}.items()
        },
        max_epochs=12,
        num=256,
    ),
    "paths": dict(
        variants=small(
            all_skip_connections=SOME,
            without_local_environment=BLIND,
            without_local_environment_and_cell=BLIND | {"latent.cell_skip": False},
            none=BLIND | {"latent.cell_skip": False, "latent.composition_skip": False},
        ),
        readings=FREE_AND_FORCED,
        num=256,
    ),
}
NEEDS = dict.fromkeys(("paths", "gine-perov", "kl-perov"), "perov_5") | {"gine-carbon": "carbon_24"}
SAME = dict(seeds=SEEDS, num=150, num_new=0, max_epochs=16, steps=50)


def settings(name: str) -> dict:  # of `benchmarks.labs.lab`
    "Gather what a lab trains and how."
    return SAME | LABS[name]


def main() -> None:
    p = argparse.ArgumentParser("python -m benchmarks.small_labs", description=__doc__)
    p.add_argument("--perov-5", type=Path, metavar="DIR", help="its splits, for paths, gine-perov, kl-perov")
    p.add_argument("--carbon-24", type=Path, metavar="DIR", help="for gine-carbon: the folder of its splits")
    p.add_argument("--only", nargs="+", choices=LABS, default=list(LABS), metavar="NAME")
    p.add_argument("--runs", type=Path, default=Path("runs/labs"), help="folder of the trained models")
    p.add_argument("--out", type=Path, default=Path("results/labs"))
    a = p.parse_args()
    sets = {name: getattr(a, NEEDS[name]) if name in NEEDS else "perov_mini" for name in a.only}
    for name in a.only:
        if sets[name] is None:
            p.error(f"{name} needs --{NEEDS[name].replace('_', '-')} DIR; --only takes the others alone")
    for name, data in sets.items():
        how = settings(name)
        compare([data], how.pop("variants"), a.runs / name, a.out / f"{name}.json", **how)


if __name__ == "__main__":
    main()
