"The numbers of fixed seeds are those that were stored before the package got its folders."

import json
from pathlib import Path

import pytest
from reference_numbers import MODELS, numbers_of

STORED = json.loads((Path(__file__).parent / "reference_numbers.json").read_text())


def close(a, b, rel):
    "Compare trees of numbers, words exactly and numbers nearly."
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k], rel) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(close(x, y, rel) for x, y in zip(a, b))
    return a == b if isinstance(a, str) else a == pytest.approx(b, rel=rel, abs=2e-3)


@pytest.mark.parametrize("name", MODELS)
def test_losses_gradients_and_crystals_are_as_before(name):
    now = numbers_of(name)
    assert close(now, STORED[name], rel=2e-3)


def test_a_changed_number_is_seen():
    changed = json.loads(json.dumps(STORED))
    changed["mp-20"]["losses"]["coord"] *= 1.01
    assert not close(changed, STORED, rel=2e-3)
