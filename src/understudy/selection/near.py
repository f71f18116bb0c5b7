"""Near copies among the chains of all problems, found in linear time, on disk instead of in memory.

A text is compared with those that share a key with it. It has six keys, each of ten minimum hashes of its character trigrams
(MinHash and its bands; Broder 1997, doi:10.1109/SEQUEN.1997.666900; for corpora Lee et al. 2022, arXiv 2107.06499). Beware: a pair
that is just alike enough is missed about once in sixteen times, and one that is more alike hardly ever, always the same ones.
"""

import hashlib
import sqlite3

import numpy as np

from understudy.selection.choose import NEAR, compare_characters, find_words

BANDS, ROWS = 6, 10
_EQUAL = 0.7 * BANDS * ROWS
"""Near texts have more equal hashes than this: 0.9 of them or more on average. Counting these is quicker than comparing texts."""
_FACTORS, _TERMS = np.random.default_rng(0).integers(1, 1 << 63, (2, BANDS * ROWS, 1), dtype=np.uint64) | np.uint64(1)


class NearTexts:
    """Texts of which none is a near copy of another. Near copies are nearly alike (`compare_characters`), with the same numbers and
    signs."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # a temporary file, which disappears with this object
        self._database.executescript(
            "pragma journal_mode = off; pragma cache_size = -200000; create table texts (id integer primary key, text, hashes);"
            "create table keys (key integer, id integer, primary key (key, id)) without rowid"
        )

    def __del__(self) -> None:
        self._database.close()

    def add(self, text: str) -> bool:
        """Add ``text`` and return True; False if the same words, or a text that is nearly alike, are there already."""
        hashes, (text_key, *keys) = find_keys(text)
        if self._database.execute("select 1 from keys where key = ?", (text_key,)).fetchone():
            return False
        # The limit keeps the time linear if all texts follow one template.
        query = "select distinct text, hashes from keys join texts using (id) where key in (?, ?, ?, ?, ?, ?) limit 100"
        for candidate, stored in self._database.execute(query, keys):
            if np.sum(np.frombuffer(stored, np.uint32) == hashes) > _EQUAL and compare_characters((text, candidate))[0, 1] >= NEAR:
                return False
        row = self._database.execute("insert into texts (text, hashes) values (?, ?)", (text, hashes.tobytes())).lastrowid
        self._database.executemany("insert or ignore into keys values (?, ?)", [(key, row) for key in (text_key, *keys)])
        return True


def find_keys(text: str) -> tuple[np.ndarray, list[int]]:
    """Return the hashes of ``text``, a key of all its words, and `BANDS` keys, of which near copies share at least one."""
    words = find_words(text)
    letters = np.frombuffer(f" {' '.join(words)} ".encode("utf-32-le"), np.uint32).astype(np.uint64)
    trigrams = letters[:-2] << 42 | letters[1:-1] << 21 | letters[2:]
    hashes = (trigrams * _FACTORS + _TERMS >> np.uint64(32)).min(axis=1, initial=(1 << 32) - 1).astype(np.uint32)
    numbers = " ".join(word for word in words if not word.isalpha())
    contents = [" ".join(words), *(f"{i} {band.tolist()} {numbers}" for i, band in enumerate(hashes.reshape(BANDS, ROWS)))]
    keys = (hashlib.blake2b(content.encode(), digest_size=8).digest() for content in contents)
    return hashes, [int.from_bytes(key, "little", signed=True) for key in keys]
