"""The starts of UUIDs that tell them apart, for tables on a terminal."""

import re
from collections.abc import Iterable
from typing import Final

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_LEAST: Final = 8
# Others than those of the list may begin alike: each digit makes that 16 times less likely.
_FURTHER: Final = 2


def starts(texts: Iterable[str]) -> dict[str, str]:
    """Return for each text what is shown of it: for UUIDs starts of one length, by which they differ from each other.

    UUIDs of version 7 begin with the time, so that those of one second have the first 8 to 12 digits in common: the
    length depends on the list. It is two digits more than the list needs, because commands look a start up among all.
    """
    found = {text: text for text in texts}
    uuids = [text for text in found if _UUID.fullmatch(text)]
    length, further = _LEAST, _FURTHER
    while uuids and length < len(uuids[0]):
        if len({text[:length] for text in uuids}) == len(uuids):
            if further == 0:
                break
            further -= 1
        length += 1
        # A hyphen at the end tells nothing.
        length += uuids[0][length - 1] == "-"
    return found | {text: text[:length] for text in uuids}
