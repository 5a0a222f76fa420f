import re

import pytest

from recbole_gro.ownership.commitment import digest_of
from recbole_gro.ownership.found_references import find_references
from recbole_gro.utils.errors import UserError

NAMES = [f"runs/v/references/seed-{seed}/target.pth" for seed in (2, 3)]


@pytest.fixture
def committed(tmp_path, monkeypatch):
    """The sha256 of two references, which lie where the results name them."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(name)
    return {name: digest_of(name) for name in NAMES}


def test_references_are_found_where_the_results_name_them(committed):
    assert find_references("elsewhere/results.json", committed, ()) == {name: name for name in NAMES}


@pytest.mark.parametrize("absolute", [False, True])
def test_references_of_a_moved_folder_are_found_below_it(committed, tmp_path, absolute):
    (tmp_path / "runs" / "v").rename(tmp_path / "received")
    names = {str(tmp_path / name) if absolute else name: digest for name, digest in committed.items()}
    found = find_references("received/results.json", names, ())
    assert [*found.values()] == [f"received/references/seed-{seed}/target.pth" for seed in (2, 3)]
    assert [*found] == [*names]


def test_given_references_are_matched_by_their_sha256(committed, tmp_path):
    for number, name in enumerate(reversed(NAMES)):
        (tmp_path / name).rename(tmp_path / f"{number}.pth")
    assert find_references("r.json", committed, ["0.pth", "1.pth"]) == dict(zip(NAMES, ["1.pth", "0.pth"], strict=True))


def test_another_file_where_the_results_name_one_does_not_hide_that_below_their_folder(committed, tmp_path):
    (tmp_path / "received").mkdir()
    (tmp_path / NAMES[0]).rename(tmp_path / "received" / "target.pth")
    (tmp_path / NAMES[0]).write_text("another")
    found = find_references("received/results.json", committed, ())
    assert found == {NAMES[0]: "received/target.pth", NAMES[1]: NAMES[1]}


def test_what_is_missing_or_another_file_is_named(committed, tmp_path):
    (tmp_path / "other.pth").write_text("other")
    for given, message in (
        (["other.pth"], "references: other.pth is none of those that r.json was committed to, by its sha256"),
        (["none.pth"], "references: there is no checkpoint none.pth; give the files of the references"),
    ):
        with pytest.raises(UserError, match=re.escape(message)):
            find_references("r.json", committed, given)
    (tmp_path / NAMES[1]).write_text("another")
    with pytest.raises(UserError, match=re.escape(f"references: the sha256 of {NAMES[1]} is not the stored one in r")):
        find_references("r.json", committed, ())
    (tmp_path / NAMES[1]).unlink()
    message = f"references: there is no {NAMES[1]} here, nor below the folder of r.json; name the references' files"
    with pytest.raises(UserError, match=re.escape(message)):
        find_references("r.json", committed, ())


def test_the_owners_model_or_another_reference_in_the_place_of_one_is_no_wrong_file(committed, tmp_path):
    (tmp_path / "judge").mkdir()
    (tmp_path / "judge" / "target.pth").write_text("owner")
    owner = digest_of("judge/target.pth")
    (tmp_path / NAMES[1]).unlink()
    message = (
        f"references: there is no {NAMES[1]} here, nor below the folder of judge/results.json (judge/target.pth is the "
        "owner's model); name the references' files"
    )
    with pytest.raises(UserError, match=re.escape(message)):
        find_references("judge/results.json", committed, (), owner)
    (tmp_path / "judge" / "target.pth").write_text(NAMES[0])
    with pytest.raises(UserError, match=r"references: there is no .* below the folder of judge/results.json; name the"):
        find_references("judge/results.json", committed, (), owner)
    (tmp_path / "judge" / "target.pth").write_text("another")
    message = f"the sha256 of judge/target.pth is not the stored one in judge/results.json of {NAMES[1]}: it is another"
    with pytest.raises(UserError, match=re.escape(message)):
        find_references("judge/results.json", committed, (), owner)


def test_the_owners_model_that_is_given_as_a_reference_is_named_as_such(committed, tmp_path):
    (tmp_path / "target.pth").write_text("owner")
    with pytest.raises(UserError, match=r"references: target.pth is the owner's own model, none of those that r"):
        find_references("r.json", committed, ["target.pth"], digest_of("target.pth"))
