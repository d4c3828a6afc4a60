"""The optimisers of a training: what a checkpoint of them holds, and how it goes on"""

import copy

import pytest
import torch
from torch import nn

from dpcdvae.model.module import MATRIX_RATE, make_optimizer, split_weights


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(10, 32), nn.Linear(32, 24), nn.SiLU(), nn.Linear(24, 4))


def step(model: nn.Module, optimizer) -> None:
    optimizer.zero_grad()
    model(torch.arange(10)).square().sum().backward()
    optimizer.step()


def test_adam_is_pytorchs_so_that_older_checkpoints_go_on():
    model = network()
    ours, plain = make_optimizer(model, "adam", 1e-3), torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    assert ours.state_dict() == plain.state_dict()


def test_wide_linear_layers_are_matrices_and_nothing_is_left_out_or_twice():
    model = network()
    matrices, others = split_weights(model)
    assert [tuple(w.shape) for w in matrices] == [(24, 32)]
    assert sorted(map(id, matrices + others)) == sorted(map(id, model.parameters()))
    assert [g["rate"] for g in make_optimizer(model, "muon", 1e-3).param_groups] == [MATRIX_RATE, 1.0]


@pytest.mark.parametrize("kind", ["adam", "muon"])
def test_a_restored_optimizer_goes_on_to_the_bit(kind):
    model = network()
    optimizer = make_optimizer(model, kind, 1e-2)
    for _ in range(3):
        step(model, optimizer)
    again = network()
    again.load_state_dict(model.state_dict())
    restored = make_optimizer(again, kind, 1e-2)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for _ in range(2):
        step(model, optimizer)
        step(again, restored)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))
    fresh = make_optimizer(again, kind, 1e-2)  # without its state it goes another way
    step(model, optimizer)
    step(again, fresh)
    assert not all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))
