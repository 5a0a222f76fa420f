"""Sizes of datasets, counted by hand, and the table beside the paper's."""

import pytest

from recbole_gro.data import build_dataset, build_loaders
from recbole_gro.data.statistics import PAPER, Statistics, dataset_statistics, table

FOUR = {"ann": list("abc"), "bob": list("bcda"), "cat": list("abcd"), "dan": ["a"] * 5}


def test_users_items_length_and_density_leave_the_padding_out(write_dataset, make_config):
    found = dataset_statistics(build_dataset(make_config(data_path=str(write_dataset(FOUR)))))
    assert found == Statistics(users=4, items=4, mean_length=4.0, density=1.0)


def test_ml_100k_is_what_its_publishers_say(make_config):
    found = dataset_statistics(build_dataset(make_config(dataset="ml-100k")))
    assert (found.users, found.items) == (943, 1682)
    assert found.mean_length == pytest.approx(100_000 / 943)
    assert found.density == pytest.approx(100_000 / 943 / 1682)


@pytest.mark.parametrize("rows", ["windows", "prefixes"])
def test_a_split_dataset_has_the_size_it_had(make_config, rows):
    config = make_config(train_rows=rows)
    dataset = build_dataset(config)
    before = dataset_statistics(dataset)
    build_loaders(config, dataset)
    assert dataset_statistics(dataset) == before


def test_the_size_does_not_depend_on_the_separator(tmp_path, make_config):
    (tmp_path / "wide").mkdir()
    rows = "".join(f"{user}   {item}  {clock}\n" for user, items in FOUR.items() for clock, item in enumerate(items))
    (tmp_path / "wide" / "wide.inter").write_text("user_id:token  item_id:token   timestamp:float\n" + rows)
    config = make_config(dataset="wide", data_path=str(tmp_path), field_separator=r"\s+")
    assert dataset_statistics(build_dataset(config)).cells() == ["4", "4", "4.0", "100.00 %"]


def test_it_is_measured_after_the_filter(write_dataset, make_config):
    settings = {"item_inter_num_interval": "[3,inf)", "user_inter_num_interval": "[4,inf)", "core_filter": "once"}
    config = make_config(data_path=str(write_dataset({**FOUR, "eve": list("abcb")})), **settings)
    # d goes, then all but dan and eve
    assert dataset_statistics(build_dataset(config)) == Statistics(2, 4 - 1, 4.5, 9 / 6)


def test_the_papers_rows_agree_with_themselves():
    for name, row in PAPER.items():
        assert row.density == pytest.approx(row.mean_length / row.items, abs=0.00006), name


def test_the_table_shows_paper_and_difference():
    lines = table("ml-1m", Statistics(6041, 3415, 165.52, 0.048464)).lines()
    assert lines == [
        "| dataset    |   users |   items |   mean length |   density |",
        "|:-----------|--------:|--------:|--------------:|----------:|",
        "| ml-1m      |    6041 |    3415 |         165.5 |    4.85 % |",
        "| paper      |    6040 |    3416 |         165.5 |    4.84 % |",
        "| difference |      +1 |      -1 |          +0.0 |   +0.01 % |",
    ]


def test_a_dataset_that_the_paper_lacks_is_a_row():
    assert len(table("ml-100k", Statistics(943, 1682, 106.0, 0.063)).lines()) == 3
