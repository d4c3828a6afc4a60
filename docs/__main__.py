"Build the site: python -m docs build"

import argparse
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    "Describe the commands."
    p = argparse.ArgumentParser("python -m docs", description="The site, the slides, the printable figures")
    sub = p.add_subparsers(dest="command", required=True)
    one = sub.add_parser("build", help="build the site into _site")
    one.add_argument("--out", type=Path, default=None)
    two = sub.add_parser("check", help="check the built site: links, requests, formulas, search, films, size")
    two.add_argument("--out", type=Path, default=None)
    sub.add_parser("steps", help="take the pictures of README from the notebooks")
    sub.add_parser("minutes", help="write into the lessons how long their sections take")
    three = sub.add_parser("look", help="take pictures of pages, light and dark, wide and narrow")
    three.add_argument("places", nargs="+", help="such as index.html, or index.html@900 to scroll first")
    three.add_argument("--to", type=Path, default=Path("runs/look"))
    for name, what in dict(slides="slides", figures="figures for print (SVG, PDF, PNG)").items():
        more = sub.add_parser(name, help=f"write the {what} of lessons")
        more.add_argument("lessons", nargs="*", type=Path, help="notebooks; all if not given")
        more.add_argument("--to", type=Path, default=Path(f"_{name}"))
    return p


def main(argv=None) -> None:
    "Run one command."
    a = parser().parse_args(argv)
    if a.command == "build":
        from .site import OUT, build

        build(a.out or OUT)
    if a.command == "check":
        from .check import check
        from .site import OUT

        check(a.out or OUT)
    if a.command == "look":
        from .browser import look

        look(a.places, a.to)
    if a.command == "minutes":
        from .minutes import write

        write()
    if a.command == "steps":
        from .steps import write

        print(*(p.name for p in write()))
    if a.command in ("slides", "figures"):
        from . import figures, slides

        made = dict(slides=slides, figures=figures)[a.command].write(a.to, a.lessons)
        print(f"{len(made)} files in {a.to}, {sum(p.stat().st_size for p in made) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
