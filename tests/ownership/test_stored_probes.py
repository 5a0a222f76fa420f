import pytest
from ownership.runs import trained, verified

from recbole_gro.ownership import run
from recbole_gro.ownership.commitment import probes_digest
from recbole_gro.ownership.method import Probes
from recbole_gro.ownership.stored_probes import PROBES, differing, store_probes, stored_probes, without

MADE = Probes([[1, 2], [3], [4]], {"lists": {"owner": [[5], [6], [7]]}, "k": 3})


@pytest.mark.parametrize(
    ("other", "places"),
    [
        (MADE, []),
        (Probes([[1, 2], [3, 3], [4]], MADE.expected), [1]),
        (Probes([[1, 3], [3], [4]], {"lists": {"owner": [[5], [6], [8]]}, "k": 3}), [0, 2]),
        (Probes(MADE.histories, {"lists": MADE.expected["lists"], "k": 4}), None),
        (Probes(MADE.histories, {"lists": {"other": [[5], [6], [7]]}, "k": 3}), None),
        (Probes(MADE.histories[:2], MADE.expected), None),
    ],
)
def test_places_that_differ(other, places):
    assert differing(MADE, other) == places


def test_probes_without_some():
    probes, kept = without(MADE, [1])
    assert probes == Probes([[1, 2], [4]], {"lists": {"owner": [[5], [7]]}, "k": 3})
    assert kept == [0, 2]


def test_a_folder_gives_back_the_probes_of_the_same_number_and_digest(tmp_path):
    digest = probes_digest(MADE)
    assert stored_probes(tmp_path, 3, digest) is None
    store_probes(tmp_path, 3, MADE)
    assert stored_probes(tmp_path, 3, digest) == MADE
    assert stored_probes(tmp_path, 4, digest) is None
    assert stored_probes(tmp_path, 3, "another") is None
    (tmp_path / PROBES).write_text("{")
    assert stored_probes(tmp_path, 3, digest) is None


def test_a_commitment_is_resumed_where_the_probes_would_come_out_differently(make_loaders, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    owner = trained(make_loaders, tmp_path)
    commitment = verified(owner, only_commit=True)

    def others(*_):
        raise AssertionError("the probes are made again")

    monkeypatch.setattr(run.create_method("fingerprint", {}).__class__, "probes", others)
    results = verified(owner)
    assert results["commitment"] == commitment
    assert probes_digest(Probes(results["probes"], results["expected"])) == commitment["probes_sha256"]
