# `make demo` and `make test` need Python 3.11 to 3.13 and make; everything else is set up in .venv by the first of them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# threads that wait give way soon, in notebooks too: PATIENCE of nbs/cli/06_cores.ipynb
export GOMP_SPINCOUNT ?= 1000

BROWSER := $(addprefix tests/test_,$(addsuffix .py,browser explorers tour))
FAST := $(addprefix tests/test_,$(addsuffix .py,ratchet house cli reference_numbers definitions symmetry sampler film steer plot))

.PHONY: setup campaign pythons longrun demo test test-fast lint pictures lab voila bench results export readme docs docs-check slides figures player screenshots clean

setup: $(STAMP)

$(STAMP): settings.ini setup.py requirements-pins.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"dpcdvae needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (a few minutes the first time)"
	@$(BIN)/pip install -q -r requirements-pins.txt
	@$(BIN)/pip install -q -r requirements-pins.txt -e ".[dev]"
	@$(BIN)/python -c "import torch, torch_geometric, lightning, pymatgen, nbdev, dpcdvae"
	@touch $@

demo: $(STAMP)
	@$(BIN)/dpcdvae demo --out runs/demo

lint: $(STAMP)
	@$(BIN)/python -m pytest tests/test_ratchet.py -q

# daily work: under five minutes, no browser, no labs, no notebooks
test-fast: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --durations=5 -x $(FAST)

# hours: every kind of job, killed 100 times; a stopped campaign goes on
campaign: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.campaign --out results/campaign.json

# an hour: the short tests with every Python that is here, with the newest libraries and the oldest allowed
pythons: $(STAMP)
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.pythons --out results/pythons.json

# hours: 100,000 crystals, stopped and resumed on the way
longrun: $(STAMP)
	@$(BIN)/python -m benchmarks.longrun generate --stops 4 --out results/long-generate.json

pictures: $(STAMP)
	@$(BIN)/python -m benchmarks.pictures

test: lint
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -q -n 2 --dist loadfile --durations=10 --ignore tests/test_ratchet.py $(addprefix --ignore ,$(BROWSER))
	@$(BIN)/python -m pytest $(BROWSER) -q --durations=5
	@OMP_NUM_THREADS=1 $(BIN)/python tests/notebooks.py

# a copy is opened, so that running it leaves the tracked notebook as it is; the configuration asks for no rebuild
lab: $(STAMP)
	@mkdir -p runs/lab/course runs/lab/tutorials && cp -n nbs/tutorials/00_tour.ipynb runs/lab/tour.ipynb || true
	@cp -n nbs/course/0[1-8]_*.ipynb nbs/course/glossary.md runs/lab/course/ || true
	@cp -n nbs/tutorials/[1-9]*.ipynb runs/lab/tutorials/ || true
	@JUPYTER_CONFIG_PATH=$(CURDIR)/share/jupyter/config $(BIN)/jupyter lab runs/lab/tour.ipynb

voila: $(STAMP)
	@JUPYTER_PATH=share/jupyter JUPYTER_CONFIG_PATH=$(CURDIR)/share/jupyter/config $(BIN)/voila --template=offline --progressive_rendering=True nbs/tutorials/00_tour.ipynb

bench: $(STAMP)
	@$(BIN)/python -m benchmarks --out results/bench.json

export: $(STAMP)
	@$(BIN)/nbdev_export && $(BIN)/nbdev_clean

results: $(STAMP)
	@$(BIN)/python -m benchmarks page
	@for book in nbs/results/*.ipynb nbs/tutorials/10_scale.ipynb nbs/labs/*.ipynb nbs/index.ipynb; do echo $$book; $(BIN)/jupyter nbconvert --to notebook --execute --inplace --ExecutePreprocessor.store_widget_state=False $$book >/dev/null 2>&1 && $(BIN)/nbdev_clean --fname $$book || exit 1; done
	@$(BIN)/python -m benchmarks.pictures nbs/results/*.ipynb nbs/tutorials/10_scale.ipynb nbs/labs/*.ipynb
	@$(BIN)/python -m docs steps
	@$(BIN)/python tests/readme.py

readme: $(STAMP)
	@$(BIN)/python -m docs steps
	@$(BIN)/python tests/readme.py

# the site, to be read with any browser: _site/index.html
docs: $(STAMP)
	@$(BIN)/python -m docs build

docs-check: docs
	@$(BIN)/python -m docs check

slides: $(STAMP)
	@$(BIN)/python -m docs slides

figures: $(STAMP)
	@$(BIN)/python -m docs figures

screenshots: $(STAMP)
	@$(BIN)/python tests/screenshots.py

player:
	@npm --prefix js ci && npm --prefix js run build

clean:
	rm -rf $(VENV) runs build dist _site _slides _figures *.egg-info
