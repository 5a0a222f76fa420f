"""A small recommender over HTTP that misbehaves on demand, and the audit of it."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import yaml

CATALOGUE = [f"item-{number}" for number in range(1, 25)]
K = 5
SECRET = "s3cr3t-of-the-owner"
TINY = {
    "query_sequences": 6,
    "query_length": 3,
    "surrogate_epochs": 2,
    "embedding_size": 8,
    "hidden_size": 8,
    "seed": 3,
    "show_progress": False,
    "use_gpu": False,
}


def ring(history, k=K):
    """The k items that follow the last one in the catalogue, in a ring."""
    last = CATALOGUE.index(history[-1])
    return [CATALOGUE[(last + step) % len(CATALOGUE)] for step in range(1, k + 1)]


def ring_of_numbers(rows, k=K):
    """What `ring` does, for a BlackBox in process."""
    return [[CATALOGUE.index(token) + 1 for token in ring([CATALOGUE[row[-1] - 1]], k)] for row in rows]


class Recommender:
    """Serve `ring` on 127.0.0.1 and record each request; `misbehave(number, histories)` returns (status, headers, body)
    in place of an answer, or None.
    """

    def __init__(self, misbehave=lambda number, histories: None, lists=ring):
        self.requests, self.given_out, self.headers, self.times, self.bodies, self.paths = [], [], [], [], [], []
        self.misbehave, self.lists, self.at_once, self.most_at_once = misbehave, lists, 0, 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # else each answer waits 40 ms for the acknowledgment of its headers

            def do_POST(self):
                length = int(self.headers["Content-Length"])
                outer.answer(self, json.loads(self.rfile.read(length)))

            def do_GET(self):
                query = parse_qs(urlsplit(self.path).query)
                outer.answer(self, {"histories": [query["seen"]], "k": int(query["n"][0])})

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/recommend"

    def answer(self, handler, body):
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            number = len(self.requests)
            self.requests.append(body["histories"])
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
            self.paths.append(handler.path)
            self.times.append(time.monotonic())
        status, headers, content = self.misbehave(number, body["histories"]) or (200, {}, None)
        if status == 200 and content is None:
            content = {"result": [{"items": self.lists(history)} for history in body["histories"]]}
        if status == 200:
            with self._lock:
                self.given_out += [tuple(history) for history in body["histories"]]
        with self._lock:
            self.at_once -= 1
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        with contextlib.suppress(OSError):  # a client that has gone
            handler.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(data)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def service_file(folder, address, **changed):
    """FOLDER/service.yaml for a Recommender; None leaves a key out."""
    (folder / "items.txt").write_text("\n".join(CATALOGUE) + "\n")
    values = {
        "url": address,
        "headers": {"Authorization": "Bearer ${AUDIT_TOKEN}"},
        "request": {"histories": "{histories}", "k": "{k}"},
        "items": "result[0].items",
        "catalogue": "items.txt",
        "k": K,
        "rate": 1000,
        "backoff": 0.01,
        "timeout": 5,
        **changed,
    }
    file = folder / "service.yaml"
    file.write_text(yaml.safe_dump({name: value for name, value in values.items() if value is not None}))
    return str(file)


def words(**settings):
    """TINY and more settings as the words of a command line."""
    return [f"--{name}={value}" for name, value in (TINY | settings).items()]
