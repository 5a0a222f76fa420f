import pytest

from recbole_gro.config.recbole_checks import check_interval
from recbole_gro.utils.errors import UserError


@pytest.mark.parametrize("interval", ["[5,inf)", "(-inf, 1e9]", "[+1,1.5E3)", "[1,2]; [4,5]", [5, 10], (5, 10)])
def test_intervals_of_numbers_in_any_notation_pass(interval):
    check_interval("age", interval)


@pytest.mark.parametrize("interval", ["", "5", "[5]", "[5,4]", "5,6", "[a,b]", "[nan,1]", "[1,2];", "[1,2,3]", None, 5])
def test_any_other_text_is_refused_by_name(interval):
    with pytest.raises(UserError, match=r"age: .* is no interval; write one such as"):
        check_interval("age", interval)
