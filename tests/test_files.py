import errno
import os
from pathlib import Path

import pytest
import torch
from pipeline import files_below

from recbole_gro import QueryLog, UserError
from recbole_gro.files import read_plain, write_atomically, written


def disk_full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_query_log(file):
    QueryLog(torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3, 4, dtype=torch.long)).save(file)


@pytest.mark.parametrize("write", [lambda file: write_atomically({"a": 2}, file), write_query_log])
def test_a_full_disk_is_told_in_a_line_and_leaves_the_earlier_file(tmp_path, monkeypatch, write):
    file = tmp_path / "weights.pth"
    write_atomically({"a": 1}, file)
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(UserError) as error:
        write(file)
    assert str(error.value) == f"{file} cannot be written: No space left on device"
    assert files_below(tmp_path) == ["weights.pth"]
    assert read_plain(file) == {"a": 1}


def test_a_file_is_there_only_once_it_is_whole(tmp_path):
    file = tmp_path / "words"
    with written(file) as stream:
        stream.write(b"half")
        assert files_below(tmp_path) == ["words.part"]
    assert file.read_bytes() == b"half"
    assert files_below(tmp_path) == ["words"]


def test_what_is_no_plain_data_is_refused(tmp_path):
    torch.save(Path, tmp_path / "code.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK")
    for name in ("code.pth", "cut.pth", "absent.pth"):
        with pytest.raises(UserError, match=f"{name} is damaged or not a file of this run") as error:
            read_plain(tmp_path / name)
        assert "\n" not in str(error.value)
