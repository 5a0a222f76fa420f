import shutil

import pytest


@pytest.fixture
def other_data(tiny_data_path, tmp_path):
    """A folder with the users, items and lengths of the tiny data, where two users have each other's histories."""
    (tmp_path / "other").mkdir()
    shutil.copytree(tiny_data_path / "tiny", tmp_path / "other" / "tiny")
    file = tmp_path / "other" / "tiny" / "tiny.inter"
    swapped = {"u1": "u2", "u2": "u1"}
    head, *lines = file.read_text().splitlines()
    rows = [line.split("\t") for line in lines]
    rows = [[swapped.get(user, user), *rest] for user, *rest in rows]
    file.write_text("\n".join([head, *("\t".join(row) for row in rows)]) + "\n")
    return tmp_path / "other"
