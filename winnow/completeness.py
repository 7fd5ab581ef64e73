"""Whether a document was read to its end, and whether all that it announces was found."""

from collections.abc import Iterable

from winnow.extractions import DocumentAccount, Unread

_CUT = {"truncated", "too_long"}


def account(  # noqa: PLR0913 # all are given by name
    *,
    document: str,
    document_hash: str,
    failed: str | None,
    listing_failed: str | None,
    announced: int | None,
    listed: int | None,
    rows: int,
    without: int,
    asked: bool,
    unread: Iterable[Unread],
    unproved: bool,
) -> DocumentAccount:
    """The account of a document.

    Args:
        failed: why the document has no text; None where it has.
        listing_failed: why its entities could not be listed.
        announced, listed: entities that the document says it has, and those that were found in it.
        rows: rows with at least one extraction.
        without: cells that have ended without an extraction.
        asked: whether anything was asked about it yet.
        unread: stretches that no reply covers.
        unproved: whether entries of the list were left out, as their words are not in the document.
    """
    stretches = list(unread)
    doubts = [
        f"{stretch.reason}: characters {stretch.start} to {stretch.end} were not read" for stretch in stretches[:3]
    ]
    if not asked and not failed:
        doubts.append("nothing was asked about it yet")
    if announced is not None and listed is not None and announced > listed:
        doubts.append(f"it announces {announced} and {listed} were found")
    if unproved:
        doubts.append("entries were left out whose evidence is not in the document")
    if listed is not None and rows < listed:
        doubts.append(f"{listed - rows} of {listed} have no row yet")
    if without:
        doubts.append(f"{without} cells have no answer")
    lost = failed or (listing_failed and listing_failed not in _CUT)
    cut = listing_failed in _CUT or any(stretch.reason in _CUT for stretch in stretches)
    if failed or listing_failed:
        doubts.insert(0, failed or listing_failed or "")
    return DocumentAccount(
        document=document,
        document_hash=document_hash,
        status="failed" if lost else "truncated" if cut else "uncertain" if doubts else "complete",
        announced=announced,
        listed=listed,
        rows=rows,
        unread=_length(stretches),
        reason="; ".join(doubts) or None,
    )


def _length(stretches: Iterable[Unread]) -> int:
    """Characters in at least one of the stretches, which may overlap."""
    length = done = 0
    for stretch in sorted(stretches, key=lambda stretch: stretch.start):
        length += max(0, stretch.end - max(stretch.start, done))
        done = max(done, stretch.end)
    return length
