"""Invented names in every script of the countries, and texts that break careless programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "Arab": (
        ("مختلقة", "الخيالية"),
        ("ساختگی", "پندارگر"),
        ("خیالي", "ښځینه"),
        ("خەیاڵی", "ئەندێشە"),
    ),
    "Beng": (("কাল্পনিক", "উদ্ভাবিত"),),
    "Cyrl": (("Вигадана", "Неіснуюча-Їжак"), ("Придуманная", "Ёлкина")),
    "Ethi": (("ልብወለድ", "ምናባዊ"), ("ፈጠራ", "ዘይነበረት")),
    "Grek": (("Επινοημένη", "Ανύπαρκτη"),),
    "Hans": (("虚构", "杜"), ("𠀀", "㐂")),
    "Khmr": (("ប្រឌិត", "ស្រមៃ"),),
    "Laoo": (("ສົມມຸດ", "ຈິນຕະນາການ"),),
    "Latn": (
        ("Invented", "O'Nobody-Smith"),
        ("E Shpikur", "Çëndrimi"),
        ("Zmyślona", "Łódź-Źdźbło"),
        ("Kurgusal", "İğdırlı"),
        ("Născocită", "Țânțaru"),
        ("Hư Cấu", "Nguyễn Đặng"),
        ("Ƙirƙira", "Ɓaure"),
        ("Àròsọ", "Ọ̀pẹ́lóyẹ̀rú"),
        ("Inventada", "Muñoz Peña"),
        ("X", "Æ"),
    ),
    "Mymr": (("စိတ်ကူး", "ယဉ်ဇာတ်ကောင်"),),
    "Tale": (("ᥑᥣᥰ", "ᥘᥤᥴ"),),
    "Talu": (("ᦷᦑᦺᦖ", "ᦟᦹᧉ"),),
    "Tfng": (("ⵜⴰⵎⵙⵏⵓⵍⴼⵓⵜ", "ⵓⵔ ⵉⵍⵍⵉⵏ"),),
    "Thai": (("สมมติ", "ไม่มีอยู่จริง"),),
    "Yiii": (("ꆈꌠ", "ꁱꂷ"),),
}
"""ISO 15924 script to (first, second name). Words for *invented* and *non-existent*, or letters
that do not survive a code page. Nobody is called so."""

HOSTILE: Final[Mapping[str, str]] = {
    "a spreadsheet formula": '=HYPERLINK("http://x.invalid","open")',
    "another formula": "+1-1@SUM(A1)",
    "an apostrophe before a formula": "'=1+1",
    "leading zeros": "000700",
    "a number in scientific notation": "1E5",
    "a date for some": "1-2-03",
    "the word for nothing": "NULL",
    "the word for true": "TRUE",
    "quotation marks": "\"double\" 'single' `back` «guillemets»",
    "separators": "a,b;c|d\te",
    "two lines": "first\nsecond",
    "SQL": "Robert'); DROP TABLE cases;--",
    "HTML": '<script>alert("x")</script>&amp;<b>',
    "XML": "]]><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/hostname'>]>&e;",
    "JSON": '{"a": [1, null]}',
    "a template": "${x} {{x}} %s %(x)s {0}",
    "a path": "../../../etc/hostname",
    "an e-mail header": "Subject: x, Bcc: y@example.invalid",
    "characters beyond the first plane": "𠀀 🜚 𞤀",
    "a mixture of directions": "abc שלום 123 سلام def",
    "combining marks": "g̈ñ́ Z̧̈",
    "a joiner between letters": "می‌خواهم क्‍ष",
    "a backslash at the end": "a\\",
}
"""What it is to the text. Each is a harmless value of a free-text field; none may be run, cut or
altered."""
