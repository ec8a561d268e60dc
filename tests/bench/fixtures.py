"""What the work is done on: pages, files, lists of inputs. Made once a run, the same in every run."""

import os
import random

PAGES = {"2016": (3794, 36575), "2017": (4123, 40432), "2018": (4334, 42671), "2019": (1953, 18982)}
BIG = 512 << 20
BLOCK = 4 << 20
SMALL_FILES, SMALL_SIZE = 20_000, 4096
LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
MIXED = ("the of wörter naïve Straße съешь ещё этих мягких булок Ξεσκεπάζω τὴν ψυχοφθόρα نص حكيم له سر דג סקרן שט "
         "いろはにほへと ちりぬるを 我能吞下玻璃 而不伤身体 เป็นมนุษย์สุดประเสริฐ and some more plain words in between").split()


def word(rng, length):
    return "".join(rng.choice(LETTERS) for _ in range(length))


def page(year):
    """A page of just so many words and bytes, with some accents, U+00A0 and U+2003 among its blanks."""
    n_words, n_bytes = PAGES[year]
    rng = random.Random(int(year))
    spaces = [rng.choice("\n\u00a0\u2003") if rng.random() < 0.02 else " " for _ in range(n_words)]
    left = n_bytes - len("".join(spaces).encode()) - 2 * (n_words // 100)
    lengths = [left // n_words + (i < left % n_words) for i in range(n_words)]
    for i in range(0, n_words - 1, 2):
        shift = rng.randrange(min(lengths[i], lengths[i + 1]))
        lengths[i], lengths[i + 1] = lengths[i] - shift, lengths[i + 1] + shift
    words = [word(rng, length) + ("é" if i % 100 == 99 else "") for i, length in enumerate(lengths)]
    text = "".join(w + s for w, s in zip(words, spaces)).encode()
    assert (len(text), len(text.decode().split())) == (n_bytes, n_words), (year, len(text))
    return text


def ascii_block():
    rng = random.Random(1)
    vocabulary = [word(rng, rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 10, 13))) for _ in range(5000)]
    return _fill(rng, vocabulary, lambda: "\n" if rng.random() < 0.08 else " ")


def mixed_block():
    rng = random.Random(2)
    return _fill(rng, MIXED, lambda: rng.choice("\u00a0\u2003\u3000") if rng.random() < 0.05 else rng.choice("      \n"))


def _fill(rng, vocabulary, gap):
    parts, size = [], 0
    while size < BLOCK - 200:
        part = (rng.choice(vocabulary) + gap()).encode()
        parts.append(part)
        size += len(part)
    return b"".join(parts) + b"x" * (BLOCK - size - 1) + b"\n"


def big_file(path, block):
    """Returns the number of words of the file."""
    with open(path, "wb") as file:
        for _ in range(BIG // BLOCK):
            file.write(block)
    return len(block.decode().split()) * (BIG // BLOCK)


def small_files(directory):
    """Returns the number of words of them all, and a file that lists them."""
    os.mkdir(directory)
    text = ascii_block()
    words = 0
    with open(directory + ".list", "w") as listing:
        for i in range(SMALL_FILES):
            at = (i * 997) % (len(text) - SMALL_SIZE)
            data = text[at:at + SMALL_SIZE]
            words += len(data.split())
            path = os.path.join(directory, f"{i:05d}.txt")
            with open(path, "wb") as file:
                file.write(data)
            listing.write(path + "\n")
    return words, directory + ".list"


def list_file(path, lines):
    with open(path, "w") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def warm(path):
    """Reads a file once more: a page cache that was taken back is no part of the comparison."""
    with open(path, "rb", buffering=0) as file:
        buffer = bytearray(1 << 20)
        while file.readinto(buffer):
            pass
