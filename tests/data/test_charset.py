from pathlib import Path

import pytest

from kramar.data.charset import encoding_of
from kramar.errors import DataError


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Яблоко"),
        ("cp1251", "a.jpg;Сир"),
        ("cp1251", "ЯБЛУКО;ГРУША"),
        ("cp1251", "1.jpg;Молоко 2,5%\n2.jpg;Хліб «Їжак»\n3.jpg;№ 5 Чай м’ятний"),
        ("cp866", "a.jpg;Овощи и фрукты"),
        ("cp1252", "a.jpg;Größe – süß, 5 €"),
        ("cp1252", "a.jpg;5 €"),
        ("cp1252", "a.jpg;Crème brûlée"),
        ("cp1252", "a.jpg;piña"),
        ("cp1252", "a.jpg;Smörgås"),
        ("cp1252", "a.jpg;Äpfel\nb.jpg;Crème fraîche\nc.jpg;jamón"),
        ("cp1250", "a.jpg;Jabłka"),
        ("cp1250", "a.jpg;Sýr čerstvý"),
        ("cp1250", "a.jpg;Szőlő"),
        ("cp1253", "a.jpg;Μήλα\nb.jpg;Τυρί"),
        ("cp1254", "a.jpg;Yoğurt ve ığdır"),
    ],
)
def test_text_comes_out_as_it_was_written(tmp_path: Path, encoding: str, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode(encoding))
    found, guessed = encoding_of(path)
    assert guessed
    assert path.read_text(encoding=found) == text


def test_utf8_is_no_guess_however_late_the_first_letter_comes(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"a.jpg;A\n" * 10_000 + "b.jpg;Їжак".encode())
    assert encoding_of(path) == ("utf-8", False)


@pytest.mark.parametrize("encoding", ["shift_jis", "euc_kr"])
def test_text_of_no_everyday_encoding_is_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "table.csv"
    words = {"shift_jis": "りんご;チーズ;とうもろこし;野菜ジュース", "euc_kr": "사과;우유;바나나;오렌지 주스"}
    path.write_bytes(words[encoding].encode(encoding))
    with pytest.raises(DataError, match="save it as CSV UTF-8"):
        encoding_of(path)
