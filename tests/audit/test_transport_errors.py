import socket
import struct
import threading

import pytest
from audit.cases import service_file

from recbole_gro.audit.description import read_description
from recbole_gro.audit.journal import Journal, Unanswered
from recbole_gro.audit.sources import HttpSource
from recbole_gro.audit.transport_errors import SENTENCES, transport_failure

httpx = pytest.importorskip("httpx")
pytest.importorskip("jmespath")
SECRET = "s3cr3t-of-the-owner"
# of httpx, by its name: the sentence, and whether the request may have got lists
KINDS = {
    "ConnectError": ("cannot connect to http://127.0.0.1:9/", False),
    "ConnectTimeout": ("cannot connect to http://127.0.0.1:9/ within 5 s", False),
    "PoolTimeout": ("no connection became free within 5 s, so that the request was not sent", False),
    "ReadTimeout": ("the service sent nothing for 5 s", True),
    "WriteTimeout": ("the service did not take the request within 5 s", True),
    "ReadError": ("the connection broke off before the answer was complete", True),
    "WriteError": ("the connection broke off while the request was sent", True),
    "CloseError": ("the connection broke off while it was closed", True),
    "ProxyError": ("the proxy did not connect to the service", True),
    "UnsupportedProtocol": ("an address that does not start with http:// or https://", True),
    "LocalProtocolError": (
        "the request breaks the rules of HTTP, as a header with forbidden characters does",
        True,
    ),
    "RemoteProtocolError": ("the service closed the connection or sent something other than HTTP", True),
    "DecodingError": ("an answer that is not encoded as its header Content-Encoding says", True),
    "TooManyRedirects": ("too many redirects", True),
    "InvalidURL": ("an answer that redirects to an invalid URL", True),
}


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("AUDIT_TOKEN", SECRET)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path / "answers.jsonl", 100)


@pytest.mark.parametrize(("name", "sentence", "may_have_lists"), [(name, *kind) for name, kind in KINDS.items()])
def test_each_kind_is_a_sentence_without_the_name_of_a_class_or_a_header(
    tmp_path, journal, name, sentence, may_have_lists
):
    def fails(request):
        raise getattr(httpx, name)(f"{request.headers['Authorization']} is wrong")

    description = read_description(service_file(tmp_path, "http://127.0.0.1:9/", retries=0), {})
    source = HttpSource(description, httpx.Client(transport=httpx.MockTransport(fails)))
    with pytest.raises(Unanswered) as raised:
        source.lists([["item-3"]], journal)
    assert raised.value.in_full == sentence
    assert journal.spent == may_have_lists


def classes(base):
    return {base, *(found for cls in base.__subclasses__() for found in classes(cls))}


def test_no_kind_of_httpx_is_left_without_a_sentence():
    for cls in classes(httpx.TransportError) | {httpx.DecodingError, httpx.TooManyRedirects, httpx.InvalidURL}:
        found = transport_failure(cls.__new__(cls), "http://shop.example", 30)
        if cls is not httpx.TransportError:  # the base of all
            assert cls.__name__ in SENTENCES
            assert cls.__name__ not in found


@pytest.mark.parametrize(
    ("answer", "is_reset", "sentence"),
    [
        (b"", False, "the service closed the connection without a response"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[",
            False,
            "the service closed the connection before its answer",
        ),
        (
            b"220 smtp.example ready\r\n\r\n",
            False,
            "the service closed the connection or sent something other than HTTP",
        ),
        (b"", True, "the connection broke off before the answer was complete"),
    ],
)
def test_what_a_service_does_to_a_connection_is_said(tmp_path, journal, answer, is_reset, sentence):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.settimeout(5)
                while b"histories" not in connection.recv(4096):
                    pass
                connection.sendall(answer)
                if is_reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        source = HttpSource(read_description(service_file(tmp_path, url, retries=0), {}))
        with pytest.raises(Unanswered, match=f"^{sentence}"):
            source.lists([["item-3"]], journal)
        source.close()
        thread.join()
    assert journal.spent == 1
