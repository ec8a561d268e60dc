"""Texts in many scripts, made here, each with the number of words Python finds in it."""

import random

# The characters str.split() splits at, taken from Python itself.
SPACES = "".join(c for c in map(chr, range(0x110000)) if c.isspace())

SCRIPTS = {
    "latin": "the quick brown fox Ünïcödé naïve façade Straße œuvre",
    "cyrillic": "Съешь ещё этих мягких французских булок да выпей чаю",
    "greek": "Ξεσκεπάζω τὴν ψυχοφθόρα βδελυγμία",
    "arabic": "نص حكيم له سر قاطع وذو شأن عظيم",
    "hebrew": "דג סקרן שט בים מאוכזב ולפתע מצא חברה",
    "cjk": "いろはにほへと　ちりぬるを 我能吞下玻璃　而不伤身体 다람쥐 헌 쳇바퀴에 타고파",
    "thai": "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า กว่าบรรดาฝูงสัตว์เดรัจฉาน",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 ✈️ 1️⃣ 🫠",
}


def count(data, charset="utf-8"):
    """The number of words that pppd has to find."""
    return len(data.decode(charset, errors="replace").split())


def texts():
    """{name: bytes}: fixed seed, so that a failure can be repeated."""
    rng = random.Random(2016)
    corpus = {name: _text(rng, sample.split()) for name, sample in SCRIPTS.items()}
    corpus["all-scripts"] = _text(rng, " ".join(SCRIPTS.values()).split(), 20000)
    corpus["all-spaces"] = "".join(f"a{space}b{space}{space}c" for space in SPACES).encode()
    corpus["near-spaces"] = _near_spaces()
    corpus["only-spaces"] = SPACES.encode() * 100
    corpus["no-space"] = "ß".encode() * 300000
    corpus["invalid"] = _invalid(rng)
    corpus["cut-sequences"] = b" ".join(b"w\xe2\x80" * n for n in range(1, 50)) + b"\xe3\x80"
    corpus["overlong"] = b"a\xc0\xa0b \xe0\x80\xa0c \xf0\x80\x80\xa0d \xed\xa0\x80e\xed\xb0\x80 \xf4\x90\x80\x80f"
    corpus["nul-and-controls"] = bytes(range(32)) * 50 + b"x\x00y z\x7f\x1cw"
    corpus["empty"] = b""
    corpus["one-letter"] = b"a"
    corpus["one-space"] = "\u3000".encode()
    corpus["big"] = _text(rng, " ".join(SCRIPTS.values()).split(), 300000)
    return corpus


def _text(rng, words, n=3000):
    return "".join(rng.choice(words) + _gap(rng) for _ in range(n)).encode()


def _gap(rng):
    return "".join(rng.choice(SPACES if rng.random() < 0.3 else " \n") for _ in range(rng.choice((1, 1, 1, 2, 5))))


def _near_spaces():
    """Characters beside the spaces, and those that look like spaces and are none (U+200B, U+FEFF, U+180E)."""
    near = {chr(ord(space) + d) for space in SPACES for d in (-1, 1) if ord(space) + d >= 0} | set("\u200b\ufeff\u180e\u2060")
    return "".join(f"a{c}b " for c in sorted(near)).encode()


def _invalid(rng):
    """Random bytes, thick with the lead and trail bytes of the multi-byte spaces."""
    likely = b"\xc2\x85\xa0\xe1\x9a\x80\xe2\x80\x81\xa8\xaf\xe3\x9f \n\x1ca\xff\xf0"
    return bytes(rng.choice(likely) if rng.random() < 0.8 else rng.randrange(256) for _ in range(60000))
