#!/bin/bash
# safetensors' safe_open for PyTorch opens a file twice: where it is replaced by a rename in between, the metadata are of one file and the tensors of the other, without an error.
set -e
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
python3.11 -m venv "$T/v"
"$T/v/bin/pip" install -q torch==2.13.0 safetensors==0.8.0 numpy==2.4.6
cd "$T" && "$T/v/bin/python" -W ignore - <<'P'
import os
import time
from importlib.metadata import version

import torch
from safetensors import safe_open
from safetensors.torch import load, save

print("safetensors", version("safetensors"), "torch", version("torch"))
path, files = "x.safetensors", [save({"x": torch.full((1000,), float(k))}, {"which": str(k)}) for k in (0, 1)]


def by_path():
    with safe_open(path, "pt") as f:
        return f.metadata()["which"], f.get_tensor("x")


def in_one_piece():
    data = open(path, "rb").read()
    return "1" if b'"which":"1"' in data[:200] else "0", load(data)["x"]


open(path, "wb").write(files[0])
writer = os.fork()
if writer == 0:
    for k in range(10**9):
        with open("part", "wb") as f:
            f.write(files[k % 2])
        os.replace("part", path)
mixed = {}
for read in (by_path, in_one_piece):
    count, mixed[read.__name__], end = 0, 0, time.time() + 15
    while time.time() < end:
        which, tensor = read()
        count, mixed[read.__name__] = count + 1, mixed[read.__name__] + (float(which) != float(tensor[0]))
    print(f"{read.__name__}: {count} readings, {mixed[read.__name__]} with the metadata of one file and the tensor of the other")
os.kill(writer, 9)
assert mixed["by_path"] > 0 and mixed["in_one_piece"] == 0, "the behaviour has changed"
P
