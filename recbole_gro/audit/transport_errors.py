"""What went wrong between an audit and a service over HTTP, in a sentence per kind of httpx's errors."""

# by the class of the error or one of its bases, with the name of a class of httpx; Python's UnicodeError is raised for
# the host that a redirect names
SENTENCES = {
    "ConnectError": "cannot connect to {url}",
    "ConnectTimeout": "cannot connect to {url} within {timeout:g} s",
    "PoolTimeout": "no connection became free within {timeout:g} s, so that the request was not sent",
    "ReadTimeout": "the service sent nothing for {timeout:g} s",
    "WriteTimeout": "the service did not take the request within {timeout:g} s",
    "TimeoutException": "no answer within {timeout:g} s",
    "ReadError": "the connection broke off before the answer was complete",
    "WriteError": "the connection broke off while the request was sent",
    "CloseError": "the connection broke off while it was closed",
    "NetworkError": "the connection broke off",
    "ProxyError": "the proxy did not connect to the service",
    "UnsupportedProtocol": "an address that does not start with http:// or https://",
    "LocalProtocolError": "the request breaks the rules of HTTP, as a header with forbidden characters does",
    "RemoteProtocolError": "the service closed the connection or sent something other than HTTP",
    "ProtocolError": "request or answer break the rules of HTTP",
    "DecodingError": "an answer that is not encoded as its header Content-Encoding says",
    "TooManyRedirects": "too many redirects",
    "InvalidURL": "an answer that redirects to an invalid URL",
    "UnicodeError": "an answer that redirects to an invalid URL",
}
# of RemoteProtocolError, by how its message begins
CLOSED = {
    "Server disconnected": "the service closed the connection without a response",
    "peer closed connection": "the service closed the connection before its answer was complete",
    "Invalid URL in location": SENTENCES["InvalidURL"],
}


def transport_failure(error: Exception, url: str, timeout: float) -> str:
    """Return what went wrong in words; nothing of the error's message, which may hold a header.

    Args:
        error: of httpx, or a UnicodeError.
        url: of the service, without secrets.
        timeout: of requests, in seconds.

    >>> transport_failure(UnicodeError(), "http://shop.example", 30)
    'an answer that redirects to an invalid URL'
    >>> transport_failure(OSError(), "http://shop.example", 30)
    'the request failed on the way (OSError)'
    """
    names = [cls.__name__ for cls in type(error).__mro__]
    if "RemoteProtocolError" in names:
        for beginning, sentence in CLOSED.items():
            if str(error).startswith(beginning):
                return sentence
    found = next((SENTENCES[name] for name in names if name in SENTENCES), None)
    return found.format(url=url, timeout=timeout) if found else f"the request failed on the way ({names[0]})"
