"""Which characters a table's bytes stand for.

charset-normalizer 3.4.7, restricted to cp1251, cp1252 and cp1250, read 6 of 9 short Cyrillic tables and 5 of 11
Western European ones as cp1250: it is made for prose, and a table's labels are a few words. So a table is read in
the encoding in which its words fit a language's alphabet best.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from kramar.errors import DataError

_BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it starts with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґў"
_WESTERN = ("äöüß", "àâæçèéêëîïôùûüœ", "áéíñóúü", "àèéìòù", "åäöæøé")
_HUNGARIAN = "áéíóöőúüű"
_PORTUGUESE = "ãõáâàçéêíóôú"
_CENTRAL = ("ąćęłńóśźż", "áčďéěíňóřšťúůýž", "áäčďéíĺľňóôŕšťúýž", "ăâîşţ", "čćđšž")
# Where two fit equally well the earlier wins; the last two are files in several languages.
_ALPHABETS = (
    ("cp1251", _CYRILLIC),
    *(("cp1252", alphabet) for alphabet in _WESTERN),
    ("cp1250", _HUNGARIAN),
    ("cp1252", _PORTUGUESE),
    ("cp1254", "çğıİöşüâî"),
    *(("cp1250", alphabet) for alphabet in _CENTRAL),
    ("cp866", _CYRILLIC),
    ("cp1253", "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"),
    ("cp1252", "".join(_WESTERN) + _PORTUGUESE),
    ("cp1250", "".join(_CENTRAL) + _HUNGARIAN + "ß"),
)
# Marks may stand between letters; signs there are letters of another encoding.
_MARKS = frozenset("\xa0’–—·")
_SIGNS = frozenset("«»„“”‘‚‹›…•№€£§©®™°±×¼½¾²³¿¡")
_SAMPLE_BYTES = 1 << 14


def encoding_of(path: Path) -> tuple[str, bool]:
    """The codec's name for the text in ``path``, and whether it is a guess (no UTF-8, no byte-order mark).

    Raises DataError for binary files and for text that fits no everyday encoding, OSError where the file
    cannot be read.
    """
    sample = bytearray()
    is_utf8 = True
    with path.open("rb") as file:
        start = file.read(4)
        for mark, encoding in _BOMS.items():
            if start.startswith(mark):
                return encoding, False
        file.seek(0)
        for line in file:
            if b"\0" in line:
                raise DataError(f"{path}: expected text, found binary data (NUL bytes); save it as CSV UTF-8")
            if line.isascii():
                continue
            is_utf8 = is_utf8 and _decode(line, "utf-8") is not None
            if len(sample) < _SAMPLE_BYTES:
                sample += line[:_SAMPLE_BYTES]
    return ("utf-8", False) if is_utf8 else (_guess(path, bytes(sample)), True)


def _guess(path: Path, sample: bytes) -> str:
    decoded = {encoding: _decode(sample, encoding) for encoding, _ in _ALPHABETS}
    fits = {
        (encoding, alphabet): _fit(text, frozenset(alphabet))
        for encoding, alphabet in _ALPHABETS
        if (text := decoded[encoding]) is not None
    }
    best = max(fits, key=lambda pair: fits[pair], default=None)
    if best is None or fits[best] < 0.75:
        raise DataError(
            f"{path}: expected UTF-8, or one of {', '.join(decoded)}; found text that is none of them; "
            "save it as CSV UTF-8"
        )
    return best[0]


def _decode(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _fit(text: str, alphabet: frozenset[str]) -> float:
    """The share of the non-ASCII letters that stand where the alphabet's letters would, in [0, 1]."""
    own_script = min(alphabet) >= "\u0370"  # Greek and Cyrillic come after all Latin letters
    fitting = total = 0
    for before, letter, after in zip(" " + text, text, text[1:] + " ", strict=False):
        inside = before.isalpha() and after.isalpha()
        if letter.isascii() or letter in _MARKS or (letter in _SIGNS and not inside):
            continue
        total += 1
        beside_latin = own_script and any(near.isascii() and near.isalpha() for near in (before, after))
        capital_inside = letter.isupper() and before.isalpha() and (before.islower() or after.islower())
        fitting += not alphabet.isdisjoint((letter, letter.lower())) and not beside_latin and not capital_inside
    return fitting / total if total else 1.0
