"""Which crystals a pretrained model has seen: digests of its training data, without names

python -m benchmarks.seen perov-5 --maybe perov_5/val.csv.gz --about "3,408 of 3,787 were trained on"
"""

import argparse

from dpcdvae.data.datasets import load_crystals
from dpcdvae.data.files import number_of
from dpcdvae.data.splits import USED, crystal_digests, save_seen
from dpcdvae.model.pretrained import model_folder


def digests(source: str) -> list[str]:
    "Read crystals, or those of them that have a number in a column: SOURCE:COLUMN."
    path, _, column = source.partition(":")
    crystals = load_crystals(path, progress=False)
    if column:
        crystals = crystals[~crystals.properties[column].isnan()]
    return crystal_digests(crystals)


def main(argv: list[str] | None = None) -> None:
    p = argparse.ArgumentParser(prog="python -m benchmarks.seen", description=__doc__.splitlines()[0])
    p.add_argument("model", help="name or folder of a model")
    for part in USED:
        p.add_argument(f"--{part}", nargs="*", default=[], metavar="SOURCE[:COLUMN]")
    p.add_argument("--about", default="", help="what --maybe means, in a sentence")
    a = p.parse_args(argv)
    seen = {}
    for part in USED:
        for source in getattr(a, part):
            seen = dict.fromkeys(digests(source), part) | seen
    path = save_seen(model_folder(a.model), seen, a.about)
    print(f"{number_of(len(seen), 'crystal')}, {path.stat().st_size:,} bytes: {path}")


if __name__ == "__main__":
    main()
