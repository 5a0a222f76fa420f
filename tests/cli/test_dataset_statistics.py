"""The command that prints the size of a dataset."""

import pytest

from recbole_gro.cli.main import main

COMMAND = ["dataset", "statistics"]


def test_rows_of_pre_split_files_are_no_interactions(tmp_path, capsys):
    (tmp_path / "cut").mkdir()
    for part in ("train", "valid", "test"):
        rows = "user_id:token\titem_id_list:token_seq\titem_id:token\nann\ta b\tc\n"
        (tmp_path / "cut" / f"cut.{part}.inter").write_text(rows)
    assert main([*COMMAND, "cut", f"--data_path={tmp_path}", "--benchmark_filename=[train, valid, test]"]) == 2
    assert "benchmark_filename: the rows of pre-split files repeat interactions" in capsys.readouterr().err


def test_the_command_reads_as_configured(tiny_data_path, capsys):
    assert main([*COMMAND, "tiny", f"--data_path={tiny_data_path}"]) == 0
    everyone = capsys.readouterr().out
    assert everyone.splitlines()[-1].split("|")[1:4] == [" tiny      ", "      40 ", "      30 "]
    assert main([*COMMAND, "tiny", f"--data_path={tiny_data_path}", "--user_inter_num_interval=[20,inf)"]) == 0
    assert capsys.readouterr().out != everyone


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--core_filter=twice"], "core_filter: 'twice' is not allowed; it takes one of repeated, once"),
        (["--data_path"], "argument '--data_path' is invalid; settings have the form --KEY=VALUE"),
        (["--defense=gro"], "defense: recbole-gro dataset statistics does not read it; recbole-gro run does"),
        (["--dataset=tiny"], "dataset: it is the first word of the command, here tiny; leave --dataset out"),
        (["--dataset=other"], "dataset: it is the first word of the command, here tiny; leave --dataset out"),
        (["--model=SASRec"], "model: recbole-gro dataset statistics does not read it; recbole-gro run does"),
        (["--epochs=5"], "epochs: recbole-gro dataset statistics does not read it; recbole-gro run does"),
        (["--learning_rate=0.1"], "learning_rate: recbole-gro dataset statistics does not read it"),
        (["--topk=5"], "topk: recbole-gro dataset statistics does not read it; recbole-gro run does"),
        (["--unused_col={'inter': ['prize']}"], "unused_col: tiny.inter has no column 'prize'; it has user_id, "),
        (["--core_fliter=once"], "did you mean 'core_filter'?"),
        (["--user_inter_num_interval=[900,inf)"], "dataset tiny"),
    ],
    ids=str,
)
def test_bad_input_ends_in_one_line(tiny_data_path, capsys, words, expected):
    assert main([*COMMAND, "tiny", f"--data_path={tiny_data_path}", *words]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("recbole-gro dataset statistics: error: ")
    assert expected in errors
    assert len(errors.splitlines()) == 1


def test_on_a_terminal_the_table_is_aligned(tiny_data_path, capsys, on_terminal):
    on_terminal(80)
    assert main([*COMMAND, "tiny", f"--data_path={tiny_data_path}"]) == 0
    head, rule, row = capsys.readouterr().out.splitlines()
    assert (head.split()[:3], set(rule)) == (["dataset", "users", "items"], {"-", " "})
    assert row.split()[:3] == ["tiny", "40", "30"]
