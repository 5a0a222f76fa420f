import os
import stat
from pathlib import Path

import pytest

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.secret_file import check_owner_only, read_or_create_secret


def test_a_secret_is_made_once_and_readable_by_its_owner_alone(tmp_path):
    content, is_new = read_or_create_secret(tmp_path / "secret", "key")
    assert is_new
    assert len(bytes.fromhex(content.decode())) == 32
    assert content.endswith(b"\n")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert read_or_create_secret(tmp_path / "secret", "key") == (content, False)
    assert read_or_create_secret(tmp_path / "other", "key")[0] != content
    assert sorted(os.listdir(tmp_path)) == ["other", "secret"]


def test_contents_are_returned_as_they_stand(tmp_path):
    (tmp_path / "secret").write_bytes(b"\xff of the user \n")
    assert read_or_create_secret(tmp_path / "secret", "key") == (b"\xff of the user \n", False)


def test_a_secret_that_another_process_made_first_is_used(tmp_path, monkeypatch):
    content, _ = read_or_create_secret(tmp_path / "secret", "key")
    # as for a process that checked before the other wrote the file
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert read_or_create_secret(tmp_path / "secret", "key") == (content, False)
    assert os.listdir(tmp_path) == ["secret"]


def test_a_folder_is_made_where_that_is_asked_for(tmp_path):
    file = tmp_path / "not" / "there yet" / "secret"
    with pytest.raises(UserError, match=r"^key: .*secret can be neither read nor made: No such file or directory$"):
        read_or_create_secret(file, "key")
    assert list(tmp_path.iterdir()) == []
    assert read_or_create_secret(file, "key", with_folder=True)[1]


def test_a_folder_in_its_place_is_reported(tmp_path):
    with pytest.raises(UserError, match=r"^key: .* can be neither read nor made: Is a directory$"):
        read_or_create_secret(tmp_path, "key")


@pytest.mark.parametrize("rights", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_open_is_refused(tmp_path, rights):
    file = tmp_path / "secret"
    read_or_create_secret(file, "key")
    check_owner_only(file, "key")
    file.chmod(rights)
    with pytest.raises(UserError, match=rf"^key: .*secret is open to others \(mode {rights:03o}\); run chmod 600 on"):
        check_owner_only(file, "key")
