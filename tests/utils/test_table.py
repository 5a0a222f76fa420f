"""Tables of text for files and terminals."""

import pytest

from recbole_gro.utils.table import TextTable

ROWS = [
    ["none", "standard", "1.00", "2.00", "3.00", "4.00", "50.00"],
    ["none", "head", "", "", "5.00", "6.00", "60.00"],
    ["gro", "standard", "7.00", "8.00", "9.00", "10.00", "70.00"],
    ["popularity", "", "0.50", "0.60", "", "", ""],
]
HEAD = ["defense", "attack", "HR@10", "NDCG@10", "HR@10", "NDCG@10", "agreement@10"]


@pytest.fixture
def table():
    groups = ["", "", "target", "target", "surrogate", "surrogate", ""]
    return TextTable(HEAD, ROWS, 2, groups, ["(+)", "*", "", ""], ["* The strongest attack on this defense."])


def test_markdown_has_group_and_name_marks_and_notes(table):
    head, rule, first, second, *_, blank, note = table.markdown().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (head, first, second)]
    assert cells[0][:3] == ["defense", "attack", "target HR@10"]
    assert cells[0][-2:] == ["surrogate NDCG@10", "agreement@10"]
    assert [row[:2] for row in cells[1:]] == [["none", f"{ROWS[0][1]} (+)"], ["none", f"{ROWS[1][1]} *"]]
    assert set(rule) <= set("|:-")
    assert (blank, note) == ("", r"\* The strongest attack on this defense.")


def test_what_fits_is_one_table_with_groups_above_their_columns(table):
    lines = table.aligned(120).splitlines()
    assert lines == [
        "                           --- target ---  - surrogate --",
        "defense     attack         HR@10  NDCG@10  HR@10  NDCG@10  agreement@10",
        "----------  --------  ---  -----  -------  -----  -------  ------------",
        "none        standard  (+)   1.00     2.00   3.00     4.00         50.00",
        "none        head      *                     5.00     6.00         60.00",
        "gro         standard        7.00     8.00   9.00    10.00         70.00",
        "popularity                  0.50     0.60",
        "",
        "* The strongest attack on this defense.",
    ]


def test_groups_that_do_not_fit_stand_one_below_another(table):
    lines = table.aligned(60).splitlines()
    assert lines == [
        "            --- target ---",
        "defense     HR@10  NDCG@10",
        "----------  -----  -------",
        "none         1.00     2.00",
        "gro          7.00     8.00",
        "popularity   0.50     0.60",
        "",
        "                        - surrogate --",
        "defense  attack         HR@10  NDCG@10  agreement@10",
        "-------  --------  ---  -----  -------  ------------",
        "none     standard  (+)   3.00     4.00         50.00",
        "none     head      *     5.00     6.00         60.00",
        "gro      standard        9.00    10.00         70.00",
        "",
        "* The strongest attack on this defense.",
    ]


@pytest.mark.parametrize("columns", [40, 45, 60, 71, 72, 80, 120])
def test_no_line_is_wider_than_the_terminal_and_no_value_is_lost(table, columns):
    text = table.aligned(columns)
    assert max(map(len, text.splitlines())) <= columns
    for value in (value for row in ROWS for value in row[2:] if value):
        assert value in text.split()


def test_a_table_of_words_wraps_its_last_column():
    table = TextTable(
        ["model", "target", "remark"], [["SASRec", "works", "a remark of many words " * 5], ["X", "no", ""]], 3
    )
    lines = table.aligned(60).splitlines()
    assert max(map(len, lines)) <= 60
    assert [line.split()[:2] for line in (lines[2], lines[-1])] == [["SASRec", "works"], ["X", "no"]]
    assert "".join(line[16:] for line in lines[2:-1]).count("remark") == 5


def test_a_table_without_values_of_a_group_needs_no_marks():
    assert TextTable(["dataset", "users"], [["tiny", "40"]]).aligned(80).splitlines() == [
        "dataset  users", "-------  -----", "tiny        40",
    ]  # fmt: skip
