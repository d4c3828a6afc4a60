"The pictures of README, one for each step from a crystal to an evaluation: taken from the notebooks."

import base64
import io
from pathlib import Path

from benchmarks.house import ROOT, read_cells

FOLDER = ROOT / "nbs/images"
WIDTH = 600  # px
STEPS = {  # picture -> notebook, and which of its pictures
    "step1_crystal": ("course/01_torus", 1),
    "step2_noise": ("course/02_noise", 2),
    "step3_learning": ("course/03_learning", 4),
    "step4_sampling": ("tutorials/00_tour", 7),
    "step5_evaluation": ("results/03_figures", 1),
}


def picture(name: str):  # PIL image
    "Cut one picture out of its notebook, without its white margins."
    from PIL import Image, ImageChops, ImageOps

    notebook, number = STEPS[name]
    outputs = [
        o.get("data", {}) for c in read_cells(ROOT / f"nbs/{notebook}.ipynb") for o in c.get("outputs", [])
    ]
    found = [d["image/png"] for d in outputs if "image/png" in d][number - 1]
    image = Image.open(io.BytesIO(base64.b64decode("".join(found)))).convert("RGB")
    box = ImageChops.difference(image, Image.new("RGB", image.size, "white")).getbbox()
    image = image.crop(box)
    image.thumbnail((WIDTH, WIDTH))
    return ImageOps.expand(image, 10, "white")


def write(folder: Path = FOLDER) -> list[Path]:
    "Write the pictures of README."
    made = [folder / f"{name}.png" for name in STEPS]
    for path in made:
        picture(path.stem).quantize(128).save(path, optimize=True)
    return made
