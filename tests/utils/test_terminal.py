"""What a terminal shows and a file holds."""

from recbole_gro.utils.table import TextTable
from recbole_gro.utils.terminal import for_output, is_quiet, quietly, width

TABLE = TextTable(["dataset", "users"], [["tiny", "40"]])


def test_a_result_is_markdown_in_a_file_and_aligned_on_a_terminal(capsys, on_terminal):
    assert for_output(TABLE) == TABLE.markdown()
    on_terminal(50)
    assert width() == 50
    assert for_output(TABLE) == TABLE.aligned(50)


def test_quiet_ends_with_the_block_and_holds_in_inner_blocks():
    with quietly():
        with quietly(False):
            assert is_quiet()
        assert is_quiet()
    assert not is_quiet()
