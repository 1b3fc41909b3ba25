"""pasted -- what of a prompt is the asking, and what is attached to it: code, data, documents, quotes.

Works on the form of a text alone, whatever it says. The asking is what is left when fenced code, tagged or long documents,
lines of data and quoted words are taken out.
Cost: 5 µs for a sentence, at most 0.3 ms: of a longer text only the first and the last characters are looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_CHARS = 1800  # of a longer text these are looked at, and as many as TAIL_CHARS at its end; what is between is attached
TAIL_CHARS = 600
LONG_WORDS = 45  # a paragraph over this beside a shorter one is a document, not the asking
LONG_CHARS = 360  # the same in characters
LONG_UNSPACED_CHARS = 150  # and in a script that writes no spaces
LETTER_LINES = 4
DATA_LINES = 3  # from here on lines that look like data are data; one or two may be the asking's own
FIRST_LINES = 80  # of so many short lines more are attached, whatever they say
LAST_LINES = 40
MAX_TAGS = 16

_fence = re.compile(r"```|~~~")
_tag = re.compile(r"<([A-Za-z][\w-]{0,40})>")
_quoted = re.compile(  # no alternative reads past the next opening sign: many of them cost no more than few
    r'"[^"\n]{1,800}"|“[^“”]{1,800}”|„[^„“”]{1,800}[“”]|«[^«»]{1,800}»|「[^「」]{1,800}」|『[^『』]{1,800}』|‘[^‘’\n]{1,800}’(?!\w)'
    r"|(?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w)){1,800}'(?!\w)|`[^`\n]{1,400}`"
)
_stamped = re.compile(r"[\[(]?\d{2,4}[-/.:]\d{2}[-/.:]\d{2}|\d{1,3}(?:\.\d{1,3}){3} ")  # a date, a time, an address
_greeting = re.compile(
    r"\s*(?:Dear|Hi|Hello|Hallo|Liebe[rs]?|Sehr geehrte\w*|Chère?|Bonjour|Estimad[oa]s?|Querid[oa]s?|Gentile|Car[oa]"
    r"|Prezad[oa]s?|Beste|Geachte"
    r"|Szanown\w+|Уважаем\w+)\b[^.?!\n]{0,60},?\s*$|\s*(?:From|To|Subject|Sent|Von|An|Betreff|De|À|Objet|Asunto|Oggetto): ?\S"
)
_word = re.compile(r"[^\W\d_]{2}|[\u3040-\uffff]")
_speaker = re.compile(r"\s*[^\W\d_][\w .-]{0,24}: ?\S")


@dataclass(slots=True, frozen=True)
class Parts:
    """A text taken apart. Sizes are characters."""

    asking: str  # the rest, its quoted words taken out
    code: int = 0  # in fences
    data: int = 0  # rows, logs, JSON, speakers' lines
    prose: int = 0  # documents
    quoted: int = 0
    quotes: int = 0  # how many

    @property
    def attached(self) -> int:
        """All that is not the asking."""
        return self.code + self.data + self.prose + self.quoted


def parts(text: str) -> Parts:
    """The asking of `text`, and how much is attached to it in which form."""
    beyond = 0
    if len(text) > HEAD_CHARS + TAIL_CHARS:
        beyond = len(text) - HEAD_CHARS - TAIL_CHARS
        text = f"{text[:HEAD_CHARS]}\n\n{text[-TAIL_CHARS:]}"
    code = prose = data = 0
    if "```" in text or "~~~" in text:
        text, code = _without_fences(text)
    if "<" in text:
        text, prose = _without_tagged(text)
    if "\n" in text:
        text, data, documents = _without_blocks(text)
        prose += documents
    if beyond:  # of the kind of what was seen of it
        most = max(code, data, prose)
        code, data, prose = (
            code + beyond * (most == code > prose),
            data + beyond * (most == data > max(code, prose)),
            prose + beyond * (most == prose),
        )
    found = _quoted.findall(text)
    asking = _quoted.sub(" ", text) if found else text
    if found and _word.search(asking) is None:  # all of it is in quotes: then they are no quotes
        asking, found = text, []
    return Parts(asking, code, data, prose, sum(map(len, found)), len(found))


def _without_fences(text: str) -> tuple[str, int]:
    """Every second piece between fences is code; what an unclosed fence opens too."""
    pieces = _fence.split(text)
    return " ".join(pieces[::2]), sum(map(len, pieces[1::2]))


def _without_tagged(text: str) -> tuple[str, int]:
    """Without what stands between a tag and its end, as documents are often handed over."""
    kept: list[str] = []
    at = taken = 0
    for _ in range(MAX_TAGS):
        tag = _tag.search(text, at)
        if tag is None:
            break
        end = text.find(f"</{tag[1]}>", tag.end())
        if end < 0:
            kept.append(text[at : tag.end()])
            at = tag.end()
        else:
            kept += (text[at : tag.start()], " ")
            taken += end - tag.end()
            at = end + len(tag[1]) + 3
    return "".join((*kept, text[at:])), taken


def _without_blocks(text: str) -> tuple[str, int, int]:
    """Without rows of data and without long paragraphs, where a short one is left; and the sizes of the two."""
    lines = text.split("\n")
    beyond = sum(map(len, lines[FIRST_LINES:-LAST_LINES])) if len(lines) > FIRST_LINES + LAST_LINES else 0
    if beyond:
        lines = [*lines[:FIRST_LINES], *lines[-LAST_LINES:]]
    rows = [_is_row(line) for line in lines]
    if sum(rows) < DATA_LINES:
        rows = [row and len(line) > 60 and line.lstrip()[:1] in "[{<" for row, line in zip(rows, lines, strict=True)]
    letter = _letter(lines)
    taken = [row or said or at in letter for at, (row, said) in enumerate(zip(rows, _speakers(lines), strict=True))]
    data = sum(len(line) for line, is_taken in zip(lines, taken, strict=True) if is_taken)
    left = ["" if is_taken else line for line, is_taken in zip(lines, taken, strict=True)]
    short = [line for line in left if line and not _is_document(line)]
    if any(line.strip() for line in short):
        return "\n".join(short), data + beyond, sum(map(len, left)) - sum(map(len, short))
    return "\n".join(filter(None, left)), data + beyond, 0


def _is_document(line: str) -> bool:
    size = len(line)
    if size <= LONG_UNSPACED_CHARS:
        return False
    spaces = line.count(" ")
    return size > LONG_CHARS or spaces >= LONG_WORDS or (not line.isascii() and spaces < size / 20)


def _speakers(lines: list[str]) -> list[bool]:
    """Which lines are of a transcript: at least four of `name: words`, each name's line following another."""
    said = [_speaker.match(line) is not None for line in lines]
    if sum(said) < DATA_LINES + 1:
        return [False] * len(lines)
    after, before = [*said[1:], False], [False, *said[:-1]]
    near = [here and (either or other) for here, either, other in zip(said, after, before, strict=True)]
    return [is_near and not line.rstrip().endswith(":") for is_near, line in zip(near, lines, strict=True)]


def _letter(lines: list[str]) -> range:
    """The lines of a letter or a mail: from its greeting or its head to the end, but for a last line that asks."""
    start = next((at for at, line in enumerate(lines) if _greeting.match(line)), -1)
    if start < 1 or len(lines) - start < LETTER_LINES:  # what begins with a greeting may be written to the model
        return range(0)
    return range(start, len(lines) - 1 if lines[-1].rstrip().endswith(("?", "？")) and not lines[-2].strip() else len(lines))


def _is_row(line: str) -> bool:
    """Whether a line is of a table, a log, JSON or code rather than a sentence."""
    bare = line.strip()
    size = len(bare)
    if size < 3:
        return size > 0 and bare[0] in "{}[]()|"
    if _stamped.match(bare) or bare[0] in "{}[]|<>" or bare[-1] in "{};":
        return True
    commas = bare.count(",") + bare.count(";")
    if commas >= 2 and bare.count(", ") + bare.count("; ") < commas / 2:
        return True
    if bare.count("\t") >= 1 or bare.count("|") >= 2:
        return True
    letters = sum(map(str.isalpha, bare[:200])) + bare[:200].count(" ")
    return size > 12 and letters < 0.62 * min(size, 200)
