"The films of the site: trajectories of the package, each a page that plays by itself."

import hashlib
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.house import ROOT

KEPT = ROOT / "runs/films"  # so that a second build does not sample again


@lru_cache
def model(name: str):
    "Load a pretrained model once."
    from dpcdvae import DPCDVAE

    return DPCDVAE.from_pretrained(name)


def reconstruction():
    "Reconstruct a perovskite that the model was not trained on."
    from dpcdvae import load_crystals

    crystals = load_crystals("perov_mini", split="test")[20:21]
    return model("perov_mini").reconstruct(crystals, seed=0)[0]


def perovskite():
    "Generate a perovskite from a draw of the prior."
    return model("perov-5").generate(1, seed=2)[0]


def carbon():
    "Generate a phase of carbon from a draw of the prior."
    return model("carbon-24").generate(1, seed=0)[0]


class Scene(NamedTuple):
    "A scene: its title, what is seen, and what makes it."

    title: str
    text: str
    make: Callable


FILMS = dict(
    reconstruction=Scene(
        "A crystal is reconstructed",
        "A perovskite of the test split, RbMnBr₃, was encoded as a latent vector. Its atoms start as noise, "
        "and 100 steps of denoising bring them back within periodic boundaries: what leaves the cell through "
        "one face enters through the opposite one.",
        reconstruction,
    ),
    perovskite=Scene(
        "A new crystal forms",
        "The latent vector is drawn from the prior, so there is no target: the model decides on composition "
        "and cell, then places the atoms.",
        perovskite,
    ),
    carbon=Scene(
        "A new phase of carbon",
        "The same with the model of carbon: one element, so that only the places matter.",
        carbon,
    ),
)


@lru_cache
def origin() -> str:
    "Name what films depend on: weights, player and this file."
    files = [
        Path(__file__),
        ROOT / "dpcdvae/static/player.js",
        *ROOT.glob("dpcdvae/weights/*/model.safetensors"),
    ]
    total = hashlib.sha256()
    for path in sorted(files):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def make(name: str) -> Path:
    "Make one film, or take the one that is there."
    path = KEPT / f"{name}-{origin()}.html"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        FILMS[name].make().to_html(path)
    return path


def write(folder: Path) -> str:  # Markdown of the page
    "Write the films and the page that shows them."
    (folder / "films").mkdir(parents=True)
    parts = [
        "---\nhide:\n  - navigation\n---",
        "# Films",
        "Sampling runs of the pretrained models, as the package records them.",
    ]
    for name, (title, text, _) in FILMS.items():
        shutil.copy(make(name), folder / f"films/{name}.html")
        parts += [f"## {title}", text]
        frame = f'<iframe class="dp-film" src="films/{name}.html" title="{title}" loading="lazy"></iframe>'
        parts += [frame, f'<a href="films/{name}.html">The film on a page of its own</a>']
    parts += ["## Your own", "Any trajectory becomes such a page, of about 0.6 MB, that needs no network:"]
    parts.append(
        '```python\nfilms = model.reconstruct(crystals[:4], seed=0)\nfilms[0].to_html("film.html")\n```'
    )
    parts.append("On the command line: `dpcdvae film rec --index 0 --out film.html`.")
    return "\n\n".join(parts) + "\n"
