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
_MOST = 100
"""Most texts that one is compared with, so that the time stays linear if all follow one template."""
_EQUAL = 0.7 * BANDS * ROWS
"""Near texts have more equal hashes than this: 0.9 of them or more on average. Counting these is quicker than comparing texts."""
_FACTORS, _TERMS = np.random.default_rng(0).integers(1, 1 << 63, (2, BANDS * ROWS, 1), dtype=np.uint64) | np.uint64(1)


class NearTexts:
    """Texts of which none is a near copy of another. Near copies are nearly alike (`compare_characters`), with the same numbers and
    signs."""

    def __init__(self) -> None:
        self._kept = sqlite3.connect("")  # a temporary file, deleted with the connection
        self._kept.executescript(
            "pragma journal_mode = off; pragma cache_size = -200000; create table texts (id integer primary key, text, hashes);"
            "create table keys (key integer, id integer, primary key (key, id)) without rowid"
        )

    def close(self) -> None:
        """Delete the texts."""
        self._kept.close()

    def add(self, text: str) -> bool:
        """Add ``text`` and return True; False if the same words, or a text that is nearly alike, are there already."""
        hashes, (whole, *keys) = find_keys(text)
        if self._kept.execute("select 1 from keys where key = ?", (whole,)).fetchone():
            return False
        sharing = "select distinct text, hashes from keys join texts using (id) where key in (?, ?, ?, ?, ?, ?) limit ?"
        for other, its in self._kept.execute(sharing, (*keys, _MOST)):
            if np.sum(np.frombuffer(its, np.uint32) == hashes) > _EQUAL and compare_characters((text, other))[0, 1] >= NEAR:
                return False
        row = self._kept.execute("insert into texts (text, hashes) values (?, ?)", (text, hashes.tobytes())).lastrowid
        self._kept.executemany("insert or ignore into keys values (?, ?)", [(key, row) for key in (whole, *keys)])
        return True


def find_keys(text: str) -> tuple[np.ndarray, list[int]]:
    """Return the hashes of ``text``, a key of all its words, and `BANDS` keys, of which near copies share at least one."""
    words = find_words(text)
    letters = np.frombuffer(f" {' '.join(words)} ".encode("utf-32-le"), np.uint32).astype(np.uint64)
    runs = letters[:-2] << 42 | letters[1:-1] << 21 | letters[2:]
    hashes = (runs * _FACTORS + _TERMS >> np.uint64(32)).min(axis=1, initial=(1 << 32) - 1).astype(np.uint32)
    numbers = " ".join(word for word in words if not word.isalpha())
    keyed = [" ".join(words), *(f"{i} {band.tolist()} {numbers}" for i, band in enumerate(hashes.reshape(BANDS, ROWS)))]
    keys = (hashlib.blake2b(part.encode(), digest_size=8).digest() for part in keyed)
    return hashes, [int.from_bytes(key, "little", signed=True) for key in keys]
