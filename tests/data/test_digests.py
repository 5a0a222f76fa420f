import pytest

from recbole_gro import UserError
from recbole_gro.data.digests import data_fingerprint


def test_changed_contents_have_another_digest(make_config, tiny_data_path, tmp_path):
    before = data_fingerprint(make_config(data_path=str(tiny_data_path)))
    assert "tiny.inter" in before
    folder = tmp_path / "tiny"
    folder.mkdir()
    text = (tiny_data_path / "tiny" / "tiny.inter").read_text()
    (folder / "tiny.inter").write_text(text)
    assert data_fingerprint(make_config(data_path=str(tmp_path)))["tiny.inter"] == before["tiny.inter"]
    (folder / "tiny.inter").write_text(text + text.splitlines()[-1] + "\n")
    assert data_fingerprint(make_config(data_path=str(tmp_path)))["tiny.inter"] != before["tiny.inter"]


def test_a_folder_in_place_of_a_file_is_named(make_config, tmp_path):
    (tmp_path / "tiny" / "tiny.inter").mkdir(parents=True)
    with pytest.raises(UserError, match=r"^dataset tiny: .*tiny\.inter cannot be read: Is a directory$"):
        data_fingerprint(make_config(data_path=str(tmp_path)))
