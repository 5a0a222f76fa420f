"""What the status of an answer says about lists: refused, or perhaps given out and lost on the way."""

OF_THE_ACCOUNT = {401: "not authorized", 402: "payment required: a budget is spent"}  # and so for every further request
# a request timed out, or its client has gone, behind a gateway: the service may have handled it
LOST = {408, 499}
# the service does not handle such requests, or is overloaded; the others are of gateways that did not reach it
REFUSED = {501, 503, 505, 521, 523, 525, 526, 529}


def is_refused(status: int) -> bool:
    """Return whether a status says that the service has given no list.

    Any other but success is of an error while the request was handled, or of a gateway that got no answer in time: the
    lists may have been given out.

    Args:
        status: of an answer over HTTP, not one of success.

    >>> [is_refused(status) for status in (307, 400, 429, 503, 408, 500, 502, 504)]
    [True, True, True, True, False, False, False, False]
    """
    return status in REFUSED or (300 <= status < 500 and status not in LOST)


def may_be_of_its_items(status: int) -> bool:
    """Return whether a status may be due to what the request holds, such as an item that the service lacks.

    >>> [may_be_of_its_items(status) for status in (400, 404, 422, 408, 429, 500)]
    [True, True, True, False, False, False]
    """
    return 400 <= status < 500 and is_refused(status) and not is_temporary(status)


def is_temporary(status: int) -> bool:
    """Return whether a request is to be repeated after an answer with this status."""
    return status == 429 or status >= 500
