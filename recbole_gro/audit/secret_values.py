"""Secrets of a description that no text of an audit may show, in whatever encoding a service repeats them."""

import html
import re
from collections.abc import Mapping

SHORT = 6  # characters; a shorter value is hidden as a word of its own alone, so that other words stay readable


def hidden(text: str, secrets: Mapping[str, str]) -> str:
    """Return a text with what is to stand in place of each secret.

    Secrets are found as they are, percent-encoded, and with the escapes of JSON and HTML, regardless of case, which
    servers change in the names of hosts.

    Args:
        text: of a service.
        secrets: what is shown in place of each, by its value.

    >>> hidden("/hook/S3cr%2Fet/ and 12", {"s3cr/et": "${TOKEN}", "1": "${N}"})
    '/hook/${TOKEN}/ and 12'
    """
    values = sorted(filter(None, secrets), key=len, reverse=True)
    if not values:
        return text
    pattern = "|".join(f"({_pattern(value)})" for value in values)  # in one pass: names may hold other values
    return re.sub(pattern, lambda match: secrets[values[(match.lastindex or 1) - 1]], text, flags=re.IGNORECASE)


def _pattern(value: str) -> str:
    found = "".join(f"(?:{_forms(char)})" for char in value)
    return rf"(?<![0-9A-Za-z]){found}(?![0-9A-Za-z])" if len(value) < SHORT else found


def _forms(char: str) -> str:
    """Return the regular expression of one ASCII character as it may be written, percent signs encoded again too."""
    code = f"{ord(char):02x}"
    forms = [rf"%(?:25)*{code}", rf"\\{{1,3}}u00{code}", f"&#(?:{ord(char)}|x{code});", re.escape(char)]
    if char in "\"'\\/":
        forms.append(rf"\\{{1,3}}{re.escape(char)}")
    if char == " ":
        forms.append(r"\+")
    if (named := html.escape(char)) != char:
        forms.append(named)
    return "|".join(forms)
