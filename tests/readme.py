"Make README.md from nbs/index.ipynb, or with --check tell whether it is up to date."

import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).parents[1]


def shown(cell):
    "A cell whose code is not for the page becomes its markdown output."
    if not cell.source.startswith("#| echo: false"):
        return cell
    return nbformat.v4.new_markdown_cell("\n".join(o.data["text/markdown"] for o in cell.outputs))


def render() -> str:
    book = nbformat.read(root / "nbs" / "index.ipynb", as_version=4)
    book.cells = [shown(c) for c in book.cells]
    return (
        MarkdownExporter()
        .from_notebook_node(book)[0]
        .strip()
        .replace("](images/", "](nbs/images/")
        .replace("](labs/", "](nbs/labs/")
        .replace("](course/", "](nbs/course/")
        .replace("](howto/", "](nbs/howto/")
        .replace("](results/", "](nbs/results/")
        .replace("](../results/", "](results/")
        + "\n"
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            "README.md is behind nbs/index.ipynb: run make readme"
            if (root / "README.md").read_text() != render()
            else 0
        )
    (root / "README.md").write_text(render())
