import re
from pathlib import Path

import pytest

from recbole_gro.utils.work_folder import work_folder


def test_a_given_folder_is_taken():
    assert work_folder("out/a", "verify") == Path("out/a")


@pytest.mark.parametrize("given", [None, ""])
def test_without_one_the_name_has_the_command_and_the_time(given):
    assert re.fullmatch(r"runs/verify-\d{8}-\d{6}-\d{6}", str(work_folder(given, "verify")))
    assert work_folder(given, "audit") != work_folder(given, "audit")
