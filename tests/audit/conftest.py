from pathlib import Path

import pytest
from audit.cases import service_file

from recbole_gro.audit.description import read_description
from recbole_gro.audit.function_source import FunctionSource
from recbole_gro.audit.journal import Journal
from recbole_gro.audit.live_service import Client


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr("recbole_gro.audit.function_source.PAUSES", (0.0, 0.0))


@pytest.fixture
def client_of(tmp_path, monkeypatch):
    """A client of `lists`, from a history to a list, and the requests that it got."""
    monkeypatch.setenv("AUDIT_TOKEN", "token")

    def make(lists, limit=100, batch=1, name="service.yaml"):
        requests = []

        def function(histories):
            requests.append(histories)
            return [lists(history) for history in histories]

        source = FunctionSource(function)
        source.batch = batch
        file = Path(service_file(tmp_path, "http://127.0.0.1:9/")).rename(tmp_path / name)
        description = read_description(str(file), {})
        return Client(source, Journal(tmp_path / "answers.jsonl", limit), description), requests

    return make
