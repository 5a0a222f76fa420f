"""The examples that the documentation points to; tests/test_quickstart.py runs the notebook."""

from pathlib import Path

import pytest
import torch

from recbole_gro.cli.main import main

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def next_item(monkeypatch):
    """Import the example that chooses the next item of a query."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import next_item

    return next_item


def test_the_next_item_is_listed_and_new_where_there_is_one(next_item):
    served = torch.tensor([[1, 2, 3, 4], [2, 1, 0, 0], [5, 1, 6, 2]])
    sequences = torch.tensor([[1, 2], [1, 1], [5, 2]])
    for seed in range(20):
        first, second, third = next_item.choose(served, sequences, torch.Generator().manual_seed(seed)).tolist()
        assert first in (3, 4)
        assert second in (1, 2)  # all listed ones are queried already
        assert third == 6


def test_the_next_item_of_an_attack_is_chosen_by_it(next_item, tiny_data_path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["-m", "GRU4Rec", "-d", "tiny", f"--data_path={tiny_data_path}", "--defense=none", "--epochs=1"]
    words += ["--query_strategy=coverage", "--query_choice=next_item:choose", "--query_sequences=4", "--query_length=5"]
    words += ["--served_k=5", "--topk=[5]", "--valid_metric=NDCG@5", "--surrogate_epochs=1", "--embedding_size=8"]
    assert main([*words, "--hidden_size=8", "--use_gpu=False", "--references=[]", "--output_dir=out"]) == 0
    assert "NDCG@5" in capsys.readouterr().out
