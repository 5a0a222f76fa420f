import gzip

import pytest

from recbole_gro.data import raw_lines as module
from recbole_gro.data.raw_lines import raw_lines
from recbole_gro.utils.errors import UserError


@pytest.fixture(params=[False, True], ids=["plain", "gzipped"])
def write(request, tmp_path):
    """Write bytes as a file, the name of which does not say whether it is gzipped."""

    def written(content):
        (tmp_path / "raw").write_bytes(gzip.compress(content) if request.param else content)
        return tmp_path / "raw"

    return written


def test_lines_are_numbered_and_blank_ones_skipped(write):
    lines = list(raw_lines(write(b"one\r\n\n  \nf\xc3\xbcnf\nlast")))
    assert lines == [(1, b"one"), (4, "fünf".encode()), (5, b"last")]


def test_a_byte_order_mark_is_no_part_of_the_first_line(write):
    assert list(raw_lines(write("\ufeffone\n\ufefftwo\n".encode()))) == [(1, b"one"), (2, "\ufefftwo".encode())]
    assert list(raw_lines(write("\ufeff\ntwo\n".encode()))) == [(2, b"two")]


def test_an_empty_file_has_none(write):
    assert list(raw_lines(write(b""))) == []


def test_a_line_too_long_is_one_line_without_content(write, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_LINE", 8)
    path = write(b"one\n" + b"x" * 100 + b"\nthree\n" + b"seven77\n" + b"y" * 8)
    assert list(raw_lines(path)) == [(1, b"one"), (2, None), (3, b"three"), (4, b"seven77"), (5, None)]


def test_progress_counts_the_bytes_of_the_file(write, monkeypatch, on_terminal):
    on_terminal(80)
    path, bars, shown = write(b"line\n" * 10000), [], module.progress_bar
    monkeypatch.setattr(module, "progress_bar", lambda *given: bars.append(shown(*given)) or bars[0])
    assert len(list(raw_lines(path, show_progress=True))) == 10000
    assert bars[0].n == bars[0].total == path.stat().st_size


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:40] + b"\xff" * 40 + data[80:]])
def test_a_damaged_download_is_one_line(tmp_path, damage):
    content = b"".join(b"%d::%d::5::978300760\n" % (n, n * n) for n in range(5000))
    (tmp_path / "raw.gz").write_bytes(damage(gzip.compress(content)))
    with pytest.raises(UserError, match=r"raw\.gz: damaged or incomplete gzip after line \d+ .* complete download"):
        list(raw_lines(tmp_path / "raw.gz"))


def test_a_missing_file_is_reported_in_one_line(tmp_path):
    with pytest.raises(UserError, match="absent: cannot be read"):
        list(raw_lines(tmp_path / "absent"))
