"Build the site: python -m docs build"

import argparse
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    "Describe the commands."
    p = argparse.ArgumentParser("python -m docs", description="The site, the slides, the printable figures")
    sub = p.add_subparsers(dest="command", required=True)
    one = sub.add_parser("build", help="build the site into _site")
    one.add_argument("--out", type=Path, default=None)
    return p


def main(argv=None) -> None:
    "Run one command."
    a = parser().parse_args(argv)
    if a.command == "build":
        from .site import OUT, build

        build(a.out or OUT)


if __name__ == "__main__":
    main()
