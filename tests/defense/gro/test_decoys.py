import pytest
import torch
from defense.cases import DefenseCases
from pipeline import untrained, weights_of

from recbole_gro import DecoyGROTrainer, GROTrainer, Service, create_defense, get_trainer

LIST, HEAD = 12, 4
SETTINGS = {
    "served_k": LIST, "gro_head_k": HEAD, "n_layers": 1, "gro_epochs": 40, "gro_steps": 1, "gro_learning_rate": 0.01,
}  # fmt: skip


class TestGRODecoys(DefenseCases):
    name = "gro_decoys"

    @pytest.fixture(autouse=True)
    def _head(self, _tiny_target):
        self.config["gro_head_k"], self.config["gro_epochs"] = HEAD, 2


class TestGRODecoysOnNARM(TestGRODecoys):
    target = "NARM"


def lists_of(model, k=LIST):
    histories = [[a, (a + b) % 29 + 1] for a in range(1, 29) for b in (1, 2, 5)]
    return Service(model, k).recommend(histories)


@pytest.mark.parametrize("model", ["BERT4Rec", "NARM"])
def test_lists_end_in_decoys_and_their_head_stays(make_loaders, tmp_path, model):
    config, train, valid, _ = make_loaders(model, output_dir=str(tmp_path), **SETTINGS)
    target = untrained(config, train)
    trainer = DecoyGROTrainer(config, target)
    before = lists_of(target, 20)
    trainer.fit_gro(train, valid)
    decoys, after = trainer.swap_rule.decoys, lists_of(trainer.model)
    assert len(decoys) == LIST - HEAD
    is_decoy = torch.isin(after, decoys)
    assert is_decoy[:, HEAD:].float().mean() > 0.4
    assert is_decoy[:, HEAD:].float().mean() > 3 * is_decoy[:, :HEAD].float().mean()
    # most of the best other items are the same; by chance 4 of 22 would be
    kept = [[item for item in row if item not in decoys][:HEAD] for row in before.tolist()]
    now = [[item for item in row if item not in decoys][:HEAD] for row in after.tolist()]
    share = sum(len(set(one) & set(other)) for one, other in zip(kept, now, strict=True)) / (HEAD * len(kept))
    assert share > 0.4


def test_it_is_gro_with_four_settings(make_config, make_loaders, tmp_path):
    keys = {"gro_swap": "decoys", "gro_target_loss": "hold", "gro_decay": True, "gro_lambda": 0.1}
    without_effect = {
        "gro_lambda": 9.0, "gro_start": "untrained", "gro_swap": "paper", "gro_target_loss": "own", "gro_decay": False,
        "gro_rows": "tail", "swap_candidates": "outside_head", "margin_swap": 0.5,
    }  # fmt: skip
    assert create_defense("gro_decoys", make_config(**SETTINGS)).fixed.keys() == without_effect.keys()
    outcomes = []
    for cls, given in ((DecoyGROTrainer, without_effect), (GROTrainer, keys)):
        config, train, *_ = make_loaders(**{**SETTINGS, "gro_epochs": 3}, **given)
        config["output_dir"] = str(tmp_path)
        torch.manual_seed(3)
        trainer = cls(config, untrained(config, train))
        trainer.fit_gro(train, saved=False)
        outcomes.append(weights_of(trainer.model))
    assert all(torch.equal(outcomes[0][name], outcomes[1][name]) for name in outcomes[0])


def test_names_of_its_trainer_and_file(make_loaders, tmp_path):
    assert get_trainer("gro_decoys") is DecoyGROTrainer
    config, train, valid, _ = make_loaders(**{**SETTINGS, "gro_epochs": 2}, output_dir=str(tmp_path))
    create_defense("gro_decoys", config).protect(untrained(config, train), train, valid)
    assert (tmp_path / "target-gro_decoys.pth").is_file()


@pytest.mark.parametrize(
    ("defense", "given", "steps"), [("gro_decoys", {}, 1520), ("gro", {}, 0), ("gro_decoys", {"gro_steps": 7}, 7)]
)
def test_decoys_have_a_minimum_of_steps_unless_gro_steps_is_set(make_config, defense, given, steps):
    assert create_defense(defense, make_config(served_k=10, gro_head_k=4, **given)).effective["gro_steps"] == steps
