import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_gro.attack.averaged_weights import AveragedWeights


def trained(decay, gradients):
    """A weight of 0 after steps of SGD, the average, and the weight after each step."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    averaged, steps = AveragedWeights(model, optimizer, decay), []
    for gradient in gradients:
        model.weight.grad = torch.tensor([[gradient]])
        optimizer.step()
        steps.append(model.weight.item())
    return model, optimizer, averaged, steps


@settings(deadline=None)  # the first step of an optimizer imports a compiler
@given(st.floats(0.01, 0.999), st.lists(st.floats(-2, 2), min_size=1, max_size=9))
def test_the_mean_is_that_of_all_steps_with_falling_weights(decay, gradients):
    model, _, averaged, steps = trained(decay, gradients)
    averaged.use_mean()
    factors = [decay ** (len(steps) - 1 - i) for i in range(len(steps))]
    expected = sum(factor * weight for factor, weight in zip(factors, steps, strict=True)) / sum(factors)
    assert model.weight.item() == pytest.approx(expected, abs=1e-4)


def test_training_goes_on_from_the_last_step():
    model, optimizer, averaged, steps = trained(0.5, [1.0, 1.0])
    averaged.use_mean()
    averaged.use_mean()
    assert model.weight.item() != steps[-1]
    averaged.use_trained()
    averaged.use_trained()
    assert model.weight.item() == steps[-1]
    model.weight.grad = torch.ones(1, 1)
    optimizer.step()
    averaged.use_mean()
    assert model.weight.item() == pytest.approx((0.25 * -1 + 0.5 * -2 - 3) / 1.75)


def test_before_the_first_step_there_is_no_mean():
    model, _, averaged, _ = trained(0.5, [])
    averaged.use_mean()
    averaged.use_trained()
    assert model.weight.item() == 0


def test_integer_buffers_are_those_of_the_last_step():
    model = torch.nn.BatchNorm1d(2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    averaged = AveragedWeights(model, optimizer, 0.9)
    for _ in range(3):
        model(torch.randn(4, 2)).sum().backward()
        optimizer.step()
    averaged.use_mean()
    assert model.num_batches_tracked == 3


def test_a_restored_average_continues_as_the_first_one():
    _, _, averaged, _ = trained(0.5, [1.0, 2.0])
    state = averaged.state_dict()
    model, optimizer, other, _ = trained(0.5, [1.0, 2.0])
    other.mean, other.steps = {}, 0
    other.load_state_dict(state)
    model.weight.grad = torch.ones(1, 1)
    optimizer.step()
    other.use_mean()
    assert model.weight.item() == pytest.approx((0.25 * -1 + 0.5 * -3 - 4) / 1.75)
