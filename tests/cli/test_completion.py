"""Completion of words, as argcomplete gives it to the shell."""

import contextlib
import functools
import io
import os
import subprocess
import sys

import pytest

from recbole_gro.cli.main import SUBCOMMANDS, main

argcomplete = pytest.importorskip("argcomplete")
IFS = "\n"  # between the words of an answer


def request(line):
    """What the shell sets for the words that may stand at the end of a line."""
    return {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": IFS, "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
            "COMP_LINE": line, "COMP_POINT": str(len(line))}  # fmt: skip


def words_of(answer):
    return {word.strip() for word in answer.split(IFS)}


class Finder(argcomplete.CompletionFinder):
    """argcomplete's without its stream for debugging, file descriptor 9, which is another file of the tests."""

    def _init_debug_stream(self):
        pass


@pytest.fixture
def completions(monkeypatch):
    """Return the words that may stand at the end of a line, of the command in this process."""

    def of(line):
        answer = io.StringIO()
        complete = functools.partial(Finder(), exit_method=sys.exit, output_stream=answer)
        with monkeypatch.context() as patch, contextlib.suppress(SystemExit):
            for name, value in request(line).items():
                patch.setenv(name, value)
            patch.setattr(argcomplete.io, "debug_stream", io.StringIO())
            patch.setattr(argcomplete, "autocomplete", complete)
            main([])
        return words_of(answer.getvalue())

    return of


def test_the_shell_gets_its_answer_from_a_process():
    environment = {**os.environ, **request("recbole-gro -m BERT"), "_ARGCOMPLETE_STDOUT_FILENAME": "/dev/stdout"}
    command = [sys.executable, "-m", "recbole_gro"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert words_of(done.stdout) == {"BERT4Rec"}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("recbole-gro ", {name.split()[0] for name in SUBCOMMANDS}),
        ("recbole-gro dataset ", {"convert", "statistics"}),
        ("recbole-gro experiment trade", {"tradeoff"}),
        ("recbole-gro experiment --dry", {"--dry_run"}),
        ("recbole-gro experiment tradeoff --gro_lam", {"--gro_lambda="}),
        ("recbole-gro --gro_lam", {"--gro_lambda="}),
        ("recbole-gro -m NARM --learning_r", {"--learning_rate="}),
        ("recbole-gro run --config_f", {"--config_files"}),
        ("recbole-gro dataset statistics mine --core_f", {"--core_filter="}),
        ("recbole-gro check-model --wr", {"--write"}),
        ("recbole-gro check-model --gro_l", {""}),
        ("recbole-gro --quiet experiment lam", {"lambda"}),
        ("recbole-gro --gro_start=", {"--gro_start=converged", "--gro_start=untrained"}),
        ("recbole-gro --exclude_seen=T", {"--exclude_seen=True"}),
        ("recbole-gro -m NARM --defense=gro_d", {"--defense=gro_decoys"}),
        ("recbole-gro experiment tradeoff --attacker=rep", {"--attacker=repeat"}),
        ("recbole-gro audit --query_strategy=mi", {"--query_strategy=mixed", "--query_strategy=mimic"}),
        ("recbole-gro --references=untr", {"--references=untrained"}),
        ("recbole-gro --surrogate_model=NAR", {"--surrogate_model=NARM"}),
        ("recbole-gro -m BERT", {"BERT4Rec"}),
        ("recbole-gro run --model=BERT", {"--model=BERT4Rec"}),
        ("recbole-gro check-model NAR", {"NARM"}),
        ("recbole-gro detect --detector=mm", {"--detector=mmd"}),
        ("recbole-gro detect --served", {"--served_k="}),
        ("recbole-gro serve a.pth --served", {"--served_k="}),
        ("recbole-gro serve a.pth --head", {"--head_k="}),
        ("recbole-gro serve a.pth --detector=mm", {"--detector=mmd"}),
        ("recbole-gro serve a.pth --on_alarm=re", {"--on_alarm=refuse"}),
        ("recbole-gro serve a.pth --defense=tail_d", {"--defense=tail_decoy"}),
        ("recbole-gro verify --method=co", {"--method=contrast"}),
    ],
)
def test_words_are_completed(completions, line, words):
    found = completions(line)
    assert words == {word for word in found if not word.startswith("-")} if line.endswith(" ") else words == found
