import pytest

from recbole_gro.ownership.key import note_revealed, read_key, revealed_by, warn_if_revealed
from recbole_gro.utils.errors import UserError


@pytest.fixture
def warned(tmp_path, monkeypatch, caplog):
    """Whether a folder's verification warns of the key."""
    monkeypatch.chdir(tmp_path)

    def warns(folder):
        caplog.clear()
        warn_if_revealed(
            "verify.key", revealed_by("verify.key", read_key(tmp_path / "verify.key")[0], tmp_path / folder)
        )
        return [record.getMessage() for record in caplog.records]

    return warns


def test_a_key_that_other_results_hold_is_warned_of(tmp_path, warned):
    assert warned("one") == []
    key, is_new = read_key(tmp_path / "verify.key")
    assert not is_new
    note_revealed("verify.key", key, tmp_path / "one")
    note_revealed("verify.key", key, tmp_path / "one")
    assert len((tmp_path / "verify.key.revealed").read_text().splitlines()) == 1
    assert warned("one") == []  # resumed
    [message] = warned("two")
    assert message.startswith(f"key: verify.key is revealed by the results in {tmp_path / 'one'}: ")
    note_revealed("verify.key", key, tmp_path / "two")
    [message] = warned("three")
    assert f"{tmp_path / 'one'}, {tmp_path / 'two'}" in message
    assert "3 tests of one key share its level; name a file that does not exist yet as --key" in message


def test_another_key_is_advised_where_one_can_be_given(caplog):
    warn_if_revealed("owner.key", ["one"], was_planted=True)
    [message] = [record.getMessage() for record in caplog.records]
    assert message.endswith("a model trained with another key has new ones; for any other suspect divide --level by 2")
    assert "does not exist yet" not in message


def test_another_key_in_the_same_file_is_new(tmp_path, warned):
    note_revealed("verify.key", read_key(tmp_path / "verify.key")[0], tmp_path / "one")
    (tmp_path / "verify.key").write_text("f" * 32)
    assert warned("two") == []


def test_a_damaged_note_warns_of_nothing(tmp_path, warned):
    (tmp_path / "verify.key.revealed").write_bytes(b"\xff\n\nnothing")
    assert warned("two") == []


@pytest.mark.parametrize(("content", "message"), [(b"short", "holds 5 bytes"), (b" " * 40, "holds 0 bytes")])
def test_a_short_key_is_refused(tmp_path, content, message):
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_key(tmp_path / "key")


def test_a_new_key_is_64_digits_and_an_old_one_is_read_without_its_blanks(tmp_path):
    key, is_new = read_key(tmp_path / "key")
    assert (len(bytes.fromhex(key.decode())), is_new) == (32, True)
    (tmp_path / "own").write_bytes(b" a secret of the owner \n")  # as of printenv, readable by others too
    assert read_key(tmp_path / "own") == (b"a secret of the owner", False)
