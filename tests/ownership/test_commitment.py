import hashlib
import json
import re

import pytest

from recbole_gro.ownership.commitment import (
    COMMITMENT,
    check_committed,
    commitment_digest,
    committed,
    digest_of,
    probes_digest,
)
from recbole_gro.ownership.method import Probes
from recbole_gro.utils.errors import UserError

PARTS = {"method": "fingerprint", "probes": 40, "references": {"a.pth": "0a", "b.pth": "0b"}}


def test_a_commitment_is_written_once_and_then_kept(tmp_path):
    first = committed(tmp_path, PARTS)
    assert first == PARTS | {"time": first["time"]}
    assert json.loads((tmp_path / COMMITMENT).read_text()) == first
    before = (tmp_path / COMMITMENT).read_bytes()
    assert committed(tmp_path, PARTS) == first
    assert (tmp_path / COMMITMENT).read_bytes() == before


def test_the_contents_in_results_have_the_digest_of_the_file(tmp_path):
    held = committed(tmp_path, PARTS | {"suspect": {"black_box": "d\u00fc.yaml", "rate": 0.1}})
    assert commitment_digest(json.loads(json.dumps(held))) == digest_of(tmp_path / COMMITMENT)


def test_a_folder_without_a_commitment_holds_none(tmp_path):
    assert check_committed(tmp_path, PARTS) is None


@pytest.mark.parametrize("text", ["", '{"method', "[]", "null", pytest.param("[" * 99999, id="deep")])
def test_a_damaged_commitment_is_named(tmp_path, text):
    (tmp_path / COMMITMENT).write_text(text)
    with pytest.raises(UserError, match=r"output_dir: .*commitment\.json is damaged, it holds no commitment; name"):
        check_committed(tmp_path, PARTS)


def test_some_parts_and_the_names_of_references_can_be_checked(tmp_path):
    held = committed(tmp_path, PARTS)
    assert check_committed(tmp_path, {"probes": 40}) == held
    assert check_committed(tmp_path, {"references": ["a.pth", "b.pth"]}) == held


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"probes": 41, "method": "contrast"}, "probes, method"),
        ({"references": ["a.pth"]}, "references"),
        ({"references": {"a.pth": "0a"}}, "references"),
        ({"owner": "0c"}, "owner"),
    ],
)
def test_another_part_is_named(tmp_path, given, names):
    committed(tmp_path, PARTS)
    with pytest.raises(UserError, match=re.escape(f"holds a commitment to something else ({names}); name another")):
        check_committed(tmp_path, given)


def test_digests_are_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert digest_of(tmp_path / "file") == hashlib.sha256(b"content").hexdigest()
    text = json.dumps([[[1, 2]], {"a": 1, "b": 2}])
    assert probes_digest(Probes([[1, 2]], {"b": 2, "a": 1})) == hashlib.sha256(text.encode()).hexdigest()
