"""Typed settings: declaration, types, ranges and fingerprints."""

import subprocess
import sys

import pytest

from recbole_gro.config.reference import help_text
from recbole_gro.config.settings import Key, Settings, declared_keys, key
from recbole_gro.utils.errors import UserError


def test_every_declared_key_has_a_type_and_a_meaning():
    for declared in declared_keys().values():
        assert declared.type
        assert len(declared.meaning) > 5
        declared.check(declared.default)


@pytest.fixture(autouse=True)
def _fruit(own_parts):
    """Declare the settings of parts outside the package, for each test of this module alone."""
    global FruitSettings, FruitSaladSettings

    class FruitSettings(Settings):
        """Settings of a part outside the package."""

        fruit: str = key("fig", "fig|pear", "what is eaten")
        fruit_basket: str | None = key(None, "file or None", "yaml file with more fruit")

    class FruitSaladSettings(FruitSettings):
        """Settings that build on others."""

        fruit_pieces: int = key(3, "int >= 1", "pieces per bowl")


def test_a_part_reads_its_settings_from_any_config():
    assert FruitSettings.of({}).fruit == "fig"
    assert FruitSaladSettings.of({"fruit": "pear", "fruit_pieces": 5}).fruit_pieces == 5
    assert FruitSaladSettings.names == ("fruit", "fruit_basket", "fruit_pieces")


def test_a_declared_key_is_known_checked_and_helped_with(make_config):
    assert make_config(fruit="pear")["fruit"] == "pear"
    assert make_config()["fruit"] == "fig"
    with pytest.raises(UserError, match=r"^fruit: 'plum' is not allowed; it takes one of fig, pear$"):
        make_config(fruit="plum")
    assert "--fruit=fig  (fig|pear)" in help_text()


def test_a_fingerprint_has_the_contents_of_files(tmp_path):
    file = tmp_path / "basket.yaml"
    file.write_text("plums: 2\n")
    assert FruitSettings.fingerprint_inputs({"fruit_basket": str(file)}) == {
        "fruit": "fig",
        "fruit_basket": {"plums": 2},
    }
    file.write_text("plums: 3\n")
    assert FruitSettings.fingerprint_inputs({"fruit_basket": str(file)})["fruit_basket"] == {"plums": 3}


def test_a_key_is_declared_in_one_way_only():
    with pytest.raises(ValueError, match="setting 'fruit' is declared already"):
        type("Other", (Settings,), {"fruit": key("pear", "fig|pear", "another default")})


def test_a_key_names_itself_where_it_refuses_a_value():
    size = Key("size", None, "int >= 2 or None", "how large")
    size.check(None)
    with pytest.raises(UserError, match=r"^size: 1 is not allowed; it takes a whole number >= 2 or None$"):
        size.check(1)


def test_the_keys_of_a_section_do_not_depend_on_what_was_imported():
    code = (
        "from recbole_gro.config.settings import of_sections; assert {'head_k', 'gro_lambda'} <= of_sections('Defense')"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
