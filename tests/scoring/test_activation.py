"""Fused activations: inside a scorer's forward passes only, and with the same values."""

import contextlib
import threading

import pytest
import torch
from scoring.cases import random_sequences
from torch.nn import functional

from recbole_gro import create_scorer
from recbole_gro.scoring.activation import fused_gelu, gelu_layers


@pytest.mark.parametrize(("activation", "layers"), [("gelu", 2), ("relu", 0)])
def test_layers_that_compute_gelu_are_found(make_model, activation, layers):
    assert len(gelu_layers(make_model("SASRec", hidden_act=activation))) == layers
    assert gelu_layers(make_model("NARM")) == []


def test_the_activation_is_the_models_own_before_and_after(make_model):
    layers = gelu_layers(make_model("SASRec"))
    hidden = torch.randn(3, 16)
    before = [layer(hidden) for layer in layers]
    with contextlib.suppress(KeyError), fused_gelu(layers):
        assert all(layer.intermediate_act_fn is functional.gelu for layer in layers)
        assert all(torch.allclose(layer(hidden), own, atol=1e-5) for layer, own in zip(layers, before, strict=True))
        raise KeyError
    assert all(layer.intermediate_act_fn == layer.gelu for layer in layers)
    assert all(torch.equal(layer(hidden), own) for layer, own in zip(layers, before, strict=True))


def test_a_scorer_that_is_created_during_a_pass_finds_the_layers(make_model):
    model = make_model("SASRec")
    layers = gelu_layers(model)
    with fused_gelu(layers):
        assert gelu_layers(model) == layers


def test_a_pass_that_ends_leaves_the_activation_to_another(make_model):
    layers = gelu_layers(make_model("SASRec"))
    inside, end = threading.Event(), threading.Event()

    def pass_of_another_thread():
        with fused_gelu(layers):
            inside.set()
            end.wait(30)

    other = threading.Thread(target=pass_of_another_thread)
    with fused_gelu(layers):
        other.start()
        assert inside.wait(30)
    assert all(layer.intermediate_act_fn is functional.gelu for layer in layers)
    end.set()
    other.join(30)
    assert all(layer.intermediate_act_fn == layer.gelu for layer in layers)


@pytest.mark.parametrize("model", ["SASRec", "BERT4Rec"])
def test_a_scorer_runs_the_model_with_fused_activations(make_model, model):
    scorer = create_scorer(make_model(model))
    seen = []
    layer = gelu_layers(scorer.model)[-1]
    layer.dense_1.register_forward_hook(lambda *_: seen.append(layer.intermediate_act_fn))
    scorer.next_item_scores(*random_sequences([2, 5], scorer.n_items))
    assert seen == [functional.gelu]
