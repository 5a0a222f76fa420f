"""What the tests of subcommands share."""

import pytest

from recbole_gro.cli.main import main


def printed_help(capsys, *words):
    """Return what a command prints before it exits with status 0."""
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 0
    return capsys.readouterr().out
