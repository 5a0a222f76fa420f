"""How answers begin, in messages."""

import numpy as np
import pytest

from recbole_gro.audit.answer_text import LONGEST_SECRET, MOST_READ, beginning, sentence
from recbole_gro.audit.secret_values import hidden

KEY = "s3cr3t-of-the-owner"


def hide(text):
    return hidden(text, {KEY: "${KEY}"})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        ([("item-1", 0.5)], "[('item-1', 0.5)]"),
        ({"items": [f"a {KEY}\n"]}, r"{'items': ['a ${KEY}\n']}"),
        ([["x" * 90 + KEY] * 200] * 10_000, "[['" + "x" * 90 + "${KEY}'..."),
        ("x" * 10**6, "'" + "x" * 99 + "..."),
        (
            np.zeros((1000, 1000)),
            "array([[0., 0., 0., ..., 0., 0., 0.], " + "[0., 0., 0., ..., 0., 0., 0.], " * 2 + "...",
        ),
        ("\x9b[31m\u202e", r"'\x9b[31m\u202e'"),
    ],
)
def test_a_value_is_shown_by_its_beginning_in_one_line(value, shown):
    assert beginning(value, hide) == shown


def test_a_value_that_cannot_be_written_is_named_by_its_type():
    class Odd:
        def __repr__(self):
            raise RuntimeError("no text")

    assert beginning([Odd()]).startswith("[<Odd instance at 0x")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", ""),
        (b'{"error": "k must be\r\n\ta whole number"}', '{"error": "k must be a whole number"}'),
        (b"<!DOCTYPE html>\n<style>p {a: 1}</style><p>Not <b>here</b></p><!-- <p>x</p>", "Not here"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", ""),
        (bytes(range(128, 256)) * 4, ""),
        ("Größe".encode("latin-1"), "Gr\ufffd\ufffde"),
        ("zu gro\xdf f\xfcr \u202ediesen Dienst".encode(), "zu groß für diesen Dienst"),
        (f"{'x' * 190} {KEY} and {KEY}".encode(), "x" * 190 + " ${KEY} an..."),
        (b"x" * MOST_READ, "x" * 200 + "..."),
        # what is read ends amid the key: neither blanks nor other keys before it bring it forward
        (b" " * (MOST_READ - 10) + KEY[:10].encode(), ""),
        ((f"{KEY} " * MOST_READ)[:MOST_READ].encode(), "${KEY} " * 28 + "${KE..."),
        (f"<p>s3cr3t-of-\n<!-- {KEY} -->{KEY}</p>".encode(), "s3cr3t-of- ${KEY}"),
    ],
)
def test_a_body_is_shown_as_a_sentence_without_secrets(body, shown):
    if body == "Größe".encode("latin-1"):
        assert sentence(body, "latin-1", hide) == "Größe"
        body, shown = body * 3, ""  # mostly no text in the encoding that was named
    assert sentence(body, "utf-8", hide) == shown


def test_an_encoding_that_python_lacks_is_read_as_utf_8():
    assert sentence("für".encode(), "x-unknown", hide) == "für"


def test_no_part_of_a_long_secret_is_shown_where_reading_ends_in_it():
    key = "k" * (LONGEST_SECRET - 1)
    body = (b" " * MOST_READ + key.encode())[-MOST_READ - 4000 :][:MOST_READ]
    assert sentence(body, "utf-8", lambda text: hidden(text, {key: "..."})) == ""
