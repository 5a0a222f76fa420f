import torch
from pipeline import same_weights, untrained, weights_of

from recbole_gro import create_defense


def test_defense_saves_the_defended_target(make_loaders, tmp_path):
    config, train, valid, _ = make_loaders(gro_epochs=1, output_dir=str(tmp_path / "run"))
    protected = create_defense("gro", config).protect(untrained(config, train), train, valid)
    saved = torch.load(tmp_path / "run" / "target-gro.pth", weights_only=True)
    assert same_weights(saved["state_dict"], weights_of(protected))


def test_effective_settings_hold_those_that_the_rule_reads(make_config):
    def effective(**settings):
        return create_defense("gro", make_config(served_k=10, gro_head_k=4, **settings)).effective

    assert effective().items() >= {"gro_rows": "all", "swap_candidates": "all"}.items()
    assert "gro_head_k" not in effective()
    assert effective(gro_rows="tail").items() >= {"gro_rows": "tail", "gro_head_k": 4}.items()
    assert "gro_rows" not in effective(gro_swap="assigned", gro_rows="tail")
