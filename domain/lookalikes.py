"""Names that are taken for one another: in other cases, with blanks or invisible characters, in look-alike letters."""

from __future__ import annotations

import unicodedata
from typing import Final

from domain.mailboxes import folded

# Letters and digits of other scripts that are read as Latin ones, after case folding (of Unicode's confusables).
_READ_AS: Final = str.maketrans(
    {
        **dict(zip("аеорсхуіјѕԁһӏвкмнтгԛԝьпи", "aeopcxyijsdhlbkmhtrqwbnu", strict=True)),
        **dict(zip("αβεηικνορτυχωγ", "abenikvoptuxwy", strict=True)),
        **dict(zip("օսոհցքզյլ", "ounhgpqjl", strict=True)),
        **dict(zip("ıȷɑɡɩʟʀɴ", "ijagilrn", strict=True)),
        **dict(zip("013|!i", "olelll", strict=True)),
    }
)
_SEPARATORS: Final = str.maketrans("", "", "-_.·/:'’`")


def look(name: str) -> str:
    """What a name is read as: names of one look must not stand beside each other."""
    bare = "".join(each for each in unicodedata.normalize("NFKD", folded(name)) if not unicodedata.combining(each))
    return bare.translate(_READ_AS).translate(_READ_AS).translate(_SEPARATORS)
