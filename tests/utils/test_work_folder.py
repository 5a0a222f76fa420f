import re
from pathlib import Path

import pytest

from recbole_gro.utils.errors import UserError
from recbole_gro.utils.work_folder import refuse_other_work, work_folder


def test_a_given_folder_is_taken():
    assert work_folder("out/a", "verify") == Path("out/a")


@pytest.mark.parametrize("given", [None, ""])
def test_without_one_the_name_has_the_command_and_the_time(given):
    assert re.fullmatch(r"runs/verify-\d{8}-\d{6}-\d{6}", str(work_folder(given, "verify")))
    assert work_folder(given, "audit") != work_folder(given, "audit")


def test_other_work_is_refused_and_ones_own_resumed(tmp_path):
    refuse_other_work(tmp_path / "new")
    refuse_other_work(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    for begun_by in ((), ["commitment.json"]):
        with pytest.raises(
            UserError, match=r"^output_dir: .* is not empty; name a new folder, so that nothing is lost$"
        ):
            refuse_other_work(tmp_path, begun_by)
    (tmp_path / "commitment.json").write_text("{}")
    refuse_other_work(tmp_path, ["commitment.json"])
    with pytest.raises(UserError, match=r"results\.json is a file; it takes a folder$"):
        refuse_other_work(tmp_path / "results.json")
    with pytest.raises(UserError, match=r"below cannot be made: Not a directory$"):
        refuse_other_work(tmp_path / "results.json" / "below")
    with pytest.raises(UserError, match=r"^output_dir: /proc/nowhere/below cannot be made: No such file or directory$"):
        refuse_other_work(Path("/proc/nowhere/below"))
    assert len(list(tmp_path.iterdir())) == 2
