import pytest

from recbole_gro import UserError
from recbole_gro.quick_start.run_folder import new_run_folder


def test_named_folder_is_made(make_config, tmp_path):
    folder = new_run_folder(make_config(output_dir=str(tmp_path / "a" / "b")))
    assert folder.is_dir()


def test_folders_without_a_name_never_collide(make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {new_run_folder(make_config()) for _ in range(3)}
    assert len(folders) == 3
    assert all(str(folder).startswith("runs/tiny-BERT4Rec-") for folder in folders)


def test_a_file_in_the_way_is_named(make_config, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match="taken cannot be written"):
        new_run_folder(make_config(output_dir=str(tmp_path / "taken")))
