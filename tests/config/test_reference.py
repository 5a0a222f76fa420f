"""The declared settings as yaml, markdown and help text."""

from recbole_gro.config.properties import packaged_file
from recbole_gro.config.reference import ORDER, help_text, markdown_table, overall_yaml, yaml_value
from recbole_gro.config.settings import declared_keys, plugin_keys, sections


def test_the_packaged_defaults_are_the_declared_ones():
    assert packaged_file("overall.yaml").read_text() == overall_yaml()


def test_the_table_has_one_line_per_key_of_the_package():
    _, _, *lines = markdown_table().splitlines()
    names = {key.name for section in ORDER for key in sections()[section]} & set(plugin_keys())
    assert sorted(line.split("|")[1].strip(" `") for line in lines) == sorted(names)
    assert all(line.count("|") == 5 for line in lines)


def test_every_key_is_in_the_help_text_once():
    lines = help_text().splitlines()
    names = declared_keys()
    assert [sum(line.startswith(f"  --{name}=") for line in lines) for name in names] == [1] * len(names)


def test_defaults_are_written_as_yaml():
    assert [yaml_value(value) for value in (None, 0.5, "auto", ["Hit", "NDCG"], [5, 10])] == [
        "~", "0.5", "auto", "[Hit, NDCG]", "[5, 10]"
    ]  # fmt: skip
