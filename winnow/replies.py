"""Whether a reply is whole, before its answers are read."""

from winnow.answers import Envelope, read_reply
from winnow.calls import Reply
from winnow.exceptions import OutputError


def interpret(reply: Reply) -> Envelope:
    """The envelope of a whole reply.

    Raises:
        OutputError: refused, content_filtered, truncated, empty_reply, malformed. A reply cut short is never read,
            even where what is there would parse.
    """
    if reply.refusal:
        raise OutputError("refused", "the model refused to answer")
    if reply.finish_reason == "content_filter":
        raise OutputError("content_filtered", "the provider filtered the reply")
    if reply.finish_reason == "length":
        raise OutputError("truncated", "the reply was cut short at the output limit")
    return read_reply(reply.text)
