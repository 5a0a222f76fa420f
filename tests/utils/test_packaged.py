"""What yaml files say of their keys."""

from recbole_gro.config.properties import recbole_keys
from recbole_gro.config.reference import ORDER
from recbole_gro.config.settings import declared_keys, sections
from recbole_gro.utils.packaged import known_experiments, listed_keys, packaged_properties, recbole_properties


def test_a_line_has_name_default_type_and_meaning(tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text(
        "# head\na: [1, 2]   # (ints >= 1) some (small) numbers \nb:\n  inner: 1  # (int) not at the top\nc: 5\n"
    )
    assert [tuple(key) for key in listed_keys(file)] == [
        ("a", "[1, 2]", "ints >= 1", "some (small) numbers"), ("b", "", "", ""), ("c", "5", "", ""),
    ]  # fmt: skip


def test_the_packaged_file_lists_the_declared_keys():
    keys = {key.name: key for key in listed_keys(packaged_properties() / "overall.yaml")}
    ours = {key.name for section in ORDER for key in sections()[section]}
    declared = {name: key for name, key in declared_keys().items() if name in ours}  # tests declare keys of their own
    assert keys.keys() == declared.keys()
    assert all(key.meaning.startswith(declared[name].meaning) for name, key in keys.items())
    assert all(key.type == declared[name].type for name, key in keys.items())


def test_recboles_file_lists_keys_of_recbole():
    names = {key.name for key in listed_keys(recbole_properties() / "overall.yaml")}
    assert {"learning_rate", "train_batch_size", "eval_args"} <= names <= recbole_keys()


def test_experiments_are_those_of_the_folder():
    assert {"defenses", "lambda", "tradeoff"} <= set(known_experiments())
