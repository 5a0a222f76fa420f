import copy
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pipeline import TINY_RUN, untrained
from recbole.model.sequential_recommender import GRU4Rec

from recbole_gro import UserError, load_target, run_recbole_gro
from recbole_gro.trainer.catalogue import StandInDataset, catalogue_state, stored_items


def test_a_stand_in_has_sizes_and_refuses_other_reads(make_config):
    config = make_config()
    data = StandInDataset(config, 31, 41)
    assert (data.num("item_id"), data.num("user_id"), data.item_num, data.user_num) == (31, 41, 31, 41)
    assert data.field2seqlen == {"item_id_list": config["MAX_ITEM_LIST_LENGTH"]}
    for read in (lambda: data.item_counter, data.get_item_feature, lambda: data.num("class"), lambda: data.field2type):
        with pytest.raises(UserError, match="model: it reads"):
            read()
    assert copy.deepcopy([data])[0] is data


def test_item_features_survive_a_file(make_loaders, tiny_data_path, tmp_path):
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.inter").write_text((tiny_data_path / "tiny" / "tiny.inter").read_text())
    rows = "".join(f"i{item}\tkind{item % 4}\n" for item in range(30))
    (folder / "tiny.item").write_text(f"item_id:token\tclass:token\n{rows}")
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}
    given = {"data_path": str(tmp_path / "data"), "load_col": columns, "selected_features": ["class"]}
    config, train, *_ = make_loaders("GRU4RecF", **given)
    state = catalogue_state(config, untrained(config, train), train._dataset)
    torch.save(state, tmp_path / "state.pth")
    items = stored_items(torch.load(tmp_path / "state.pth", weights_only=True)["features"])
    data = StandInDataset(config, state["n_items"], state["n_users"], items)
    assert data.num("class") == 5
    assert data.field2type == {"class": train._dataset.field2type["class"]}
    assert torch.equal(data.get_item_feature()["class"], train._dataset.item_feat["class"])


def test_tokens_of_a_large_catalogue_are_quick_and_small(tmp_path):
    users, items = [f"A{user:013d}" for user in range(140_000)], [f"B{item:09d}" for item in range(54_000)]
    dataset = SimpleNamespace(
        field2id_token={"u": np.array(["[PAD]", *users]), "i": np.array(["[PAD]", *items])},
        iid_field="i", uid_field="u", item_num=54_001, user_num=140_001,
    )  # fmt: skip
    start = time.process_time()
    state = catalogue_state({"selected_features": None}, torch.nn.Module(), dataset)
    torch.save(state, tmp_path / "state.pth")
    assert torch.load(tmp_path / "state.pth", weights_only=True)["item_tokens"] == ["[PAD]", *items]
    assert time.process_time() - start < 5
    assert (tmp_path / "state.pth").stat().st_size < 6_000_000


class ClassGRU(GRU4Rec):
    """A user's model that reads an item feature of its dataset."""

    def __init__(self, config, dataset):
        super().__init__(config, dataset)
        self.register_buffer("kind", dataset.get_item_feature()["class"].clone())
        self.kinds = torch.nn.Embedding(dataset.num("class"), self.embedding_size, padding_idx=0)

    def forward(self, item_seq, item_seq_len):
        return super().forward(item_seq, item_seq_len) + self.kinds(self.kind[item_seq]).sum(1)


def test_a_model_of_ones_own_is_loaded_with_all_item_features(write_dataset, tmp_path):
    histories = {f"u{user}": [f"i{(user + step) % 30}" for step in range(8)] for user in range(40)}
    folder = write_dataset(histories) / "tiny"
    rows = "".join(f"i{item}\tkind{item % 4}\n" for item in range(30))
    (folder / "tiny.item").write_text(f"item_id:token\tclass:token\n{rows}")
    columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "class"]}
    given = {**TINY_RUN, "data_path": str(folder.parent), "load_col": columns, "attack": False, "references": []}
    run_recbole_gro(ClassGRU, "tiny", config_dict={**given, "output_dir": str(tmp_path / "run")})
    loaded = load_target(tmp_path / "run" / "target.pth", ClassGRU)
    assert len(loaded.recommend([["i1", "i2"]], 5)[0]) == 5
    assert loaded.model.kinds.num_embeddings == 5
