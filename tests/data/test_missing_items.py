import logging

from recbole.data import create_dataset, data_preparation

from recbole_gro import GROTrainer
from recbole_gro.data import build_dataset


def test_items_that_recbole_takes_for_missing_are_a_warning_and_its_advice_helps(write_dataset, make_config, caplog):
    # RecBole removes the rows of a user called NA, and then others than those of the item
    users = ["NA", "s", "t", "u", "v", "w", "x", "y", "z"]
    events = {
        user: [("NA" if user == "t" and place == 2 else f"i{(n + place) % 6}", place) for place in range(6)]
        for n, user in enumerate(users)
    }
    config = make_config(
        "NARM",
        data_path=str(write_dataset(events)),
        gro_epochs=1,
        epochs=1,
        served_k=2,
        topk=[2],
        valid_metric="NDCG@2",
    )
    for dataset, warned in ((create_dataset(config), 1), (build_dataset(config), 0)):
        train, valid, _ = data_preparation(config, dataset)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "recbole_gro"):
            GROTrainer(config, config.model_class(config, train._dataset)).fit(train, valid, saved=False)
        warnings = [record.message for record in caplog.records if "without an item" in record.message]
        assert len(warnings) == warned
        assert all("build the dataset with recbole_gro.data.build_dataset" in warning for warning in warnings)
