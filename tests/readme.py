"Make README.md from nbs/index.ipynb, or with --check tell whether it is up to date."
import sys
from pathlib import Path

from nbconvert import MarkdownExporter

root = Path(__file__).parents[1]


def render() -> str:
    return MarkdownExporter().from_filename(str(root / "nbs" / "index.ipynb"))[0].strip() + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv: sys.exit("README.md is behind nbs/index.ipynb: run make readme" if (root / "README.md").read_text() != render() else 0)
    (root / "README.md").write_text(render())
