"The encoder's DimeNet++ against torch-geometric's blocks: names of weights, values, gradients."

import pytest
import torch
from torch import nn

from dpcdvae.crystal.batch import CrystalBatch, toy
from dpcdvae.crystal.neighbors import find_neighbors
from dpcdvae.nn.encoder import DimeNetPP, bonds_from_neighbors


class Reference(nn.Module):
    "DimeNet++ of torch-geometric's blocks, on the bases of the encoder."

    def __init__(self, net: DimeNetPP, hidden: int = 128, num_blocks: int = 2):
        super().__init__()
        from torch_geometric.nn.models import dimenet as pyg

        act = nn.functional.silu
        self.rbf, self.sbf = pyg.BesselBasisLayer(6, 7.0, 5), net.sbf
        self.embedding = pyg.EmbeddingBlock(6, hidden, act)
        self.embedding.emb = nn.Embedding(101, hidden)
        blocks = (pyg.InteractionPPBlock(hidden, 64, 8, 7, 6, 1, 2, act) for _ in range(num_blocks))
        self.interactions = nn.ModuleList(blocks)
        outputs = (
            pyg.OutputPPBlock(6, hidden, 256, 256, 3, act, "glorot_orthogonal") for _ in range(num_blocks + 1)
        )
        self.outputs = nn.ModuleList(outputs)

    def forward(self, atomic_numbers, bonds):
        rbf = self.rbf(bonds.dist) * bonds.weight[:, None]
        sbf = self.sbf(bonds.dist, bonds.angle, bonds.kj) * bonds.weight[bonds.kj, None]
        x = self.embedding(atomic_numbers, rbf, bonds.i, bonds.j)
        out = self.outputs[0](x, rbf, bonds.i, num_nodes=len(atomic_numbers))
        for interact, output in zip(self.interactions, self.outputs[1:]):
            x = interact(x, rbf, sbf, bonds.kj, bonds.ji)
            out = out + output(x, rbf, bonds.i, num_nodes=len(atomic_numbers))
        return out


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    net = DimeNetPP(num_blocks=2)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.05 * torch.randn_like(p))  # no bias stays zero
    reference = Reference(net)
    reference.load_state_dict(net.state_dict())  # every name and shape
    crystals = CrystalBatch.cat([toy(k) for k in ("SrTiO3", "Si", "Cu", "NaCl")])
    return net.double(), reference.double(), crystals.to(torch.float64)


def test_values_and_gradients_equal_those_of_torch_geometric(pair):
    net, reference, crystals = pair
    bonds = bonds_from_neighbors(find_neighbors(crystals, 8))
    ours = net(crystals.atomic_numbers, bonds, torch.float64)
    theirs = reference(crystals.atomic_numbers, bonds)
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    probe = torch.randn_like(ours)
    named = dict(net.named_parameters())
    wanted = dict(reference.named_parameters())
    assert named.keys() == wanted.keys()
    for name, got, want in zip(
        named,
        torch.autograd.grad((ours * probe).sum(), list(named.values())),
        torch.autograd.grad((theirs * probe).sum(), [wanted[k] for k in named]),
    ):
        assert torch.allclose(got, want, rtol=1e-8, atol=1e-9), name


def test_start_has_the_variance_of_torch_geometric():
    torch.manual_seed(0)
    net = DimeNetPP(num_blocks=1)
    start = {k: float(p.var()) for k, p in net.named_parameters() if p.dim() == 2}
    for name, p in Reference(net, num_blocks=1).named_parameters():
        if p.dim() == 2:
            assert start[name] == pytest.approx(float(p.var()), rel=0.2), name
