"""code -- whether a text has program code in it: a fenced block, or lines that only code has.

Looks at the first 16 KB of a text with RE2, so that no text takes long. One line that no prose has is enough; of lines that prose has
seldom it takes two, or one and two assignments or comments. Data (JSON, YAML, CSV, logs) is no code.
Cost: 2 µs for a question, 15 µs for 1 KB, 0.15 ms at the most; RE2 is loaded and two automata are made when first asked (10 ms).
"""

from __future__ import annotations

import functools
from typing import Any

LOOK_CHARACTERS = 16 * 1024
FENCES = ("```", "~~~")
MEDIUM, WEAK = 2, 2  # so many lines of the one kind, or one of them and so many of the other

_BOUND = r"(?:\w+|\{[^{}\n]*\}|\[[^\[\]\n]*\])(?: ?: ?[\w<>\[\]|]+)? *="  # what is assigned to, in JavaScript, Rust or Swift

# What no prose has at the beginning of a line, behind white space and a prompt
_BEGINS = (
    r"(?:async )?def \w+[?!]?\(.*\)(?: *->.*)?:? *$",  # Python, Ruby
    r"class \w+(?:\([\w., ]*\))?:\s*$",
    r"from [\w.]+ import [\w*(]",
    r"import (?:\w+\.)*\w+ as \w+\s*$",
    r"if __name__ ==",
    r"#include *[<\"]",  # C
    r"(?:int|void|char|double|float|bool|auto|string) \*?\w+\([^)\n]*\) *\{?\s*$",
    r"(?:public|private|protected|internal) (?:static |final |async |override )*[\w<>\[\], ?]+ \w+.*[({;]",  # Java, C#
    r"(?:export )?(?:default )?(?:async )?function\*? *\w*\([^)\n]*\) *\{",  # JavaScript
    r"(?:export )?(?:const|var) " + _BOUND + r"[^=]",
    r"let (?:mut )?" + _BOUND + r"[^=].*(?:;\s*$|[(\[{\"'])",
    r"(?:pub(?:\(crate\))? )?(?:async )?fn \w+[<(]",  # Rust
    r"func (?:\(\w+ \*?\w+\) )?\w+\(",  # Go
    r"package [\w.]+;\s*$",
    r"\w+ :: \S",  # Haskell
    r"(?:for|while) .*; do\s*$",  # a shell
    r"#!/",
    r"FROM [\w./-]+:[\w.-]+(?: AS \w+)?\s*$",  # a container file
    r"<\?(?:php|xml)|(?i:<!doctype html)",
    r"</?(?:html|head|body|div|span|script|style|table|form|input|button|template|svg)(?:\s[^<>\n]*)?>",
    r"select (?:distinct )?(?:\*|\w+\.\w|\w+\()",  # SQL
    r"(?:INSERT INTO|CREATE (?:TABLE|INDEX|VIEW)|ALTER TABLE|DELETE FROM) \w",
    r"UPDATE \w+ SET \w+ *=",
    r"Traceback \(most recent call last\)",  # a stack, a diff
    r"File \"[^\"\n]+\", line \d",
    r"at [\w.$<>]+\([\w.]+:\d+\)",
    r"@@ -\d+(?:,\d+)? \+\d",
    r"(?:sudo|npm|pip|git|docker|kubectl|apt-get) (?:install|run|clone|commit|push|pull|exec|apply|-\w)",  # commands
    r"(?:gcc|g\+\+|python3?|node|cargo|go) (?:-\w|run |build\b)",
)

# What no prose has anywhere in a line
_INSIDE = (
    r"\bdef \w+\([^()\n]*\)(?: *->[^:\n]+)?:",
    r"\bfunction \w*\([^()\n]*\) *\{",
    r"\([^()\n]*\) *=> *[\w({\[]",
    r"\blambda \w+(?:, ?\w+)*:",
    r"\bSELECT (?:DISTINCT )?[\w.*(),\"` ]+ FROM [\w.\"`\[]",
    r"\bselect [\w.*, ()]+ from [\w.]+ (?:where|join|order by|group by|limit)\b",
    r"\$\{\w+|\$\(\w",
    r"\b(?:console\.log|System\.out\.print(?:ln|f)?|printf|std::\w+|fmt\.Print(?:ln|f))[(<: ]",
    r"\b(?:curl|wget) (?:--?\w|https?://)",
    r"\b(?:perl|sed|awk|grep|bash|sh) -\w+ .*['\"]",
    r"`[^`\n]*(?:\w\(|[=;{}]|->|::)[^`\n]*`",
)

# What prose has seldom
_SELDOM = (
    r"^.*[)\]\w] ?\{\s*$",
    r"^.*[)\]}];\s*$",
    r"^\s*[})\]]+[;,]? *(?:else|catch|finally|while|from)\b",
    r"^[ \t]*(?:elif|else|try|except|finally)\b[^.,\n]*:\s*$",
    r"^[ \t]*(?:if|for|while|with) .*(?:[()\[\]<>=]| (?:in|as|not) ).*:\s*$",
    r"^\s*(?:if|for|while|switch|catch) ?\(.*\)",
    r"^\s*(?:return|import|using|require|use)\b[^.,\n]*;\s*$",
    r"^\s*[A-Za-z_][\w.]*\((?:[^()\n]|\([^()\n]*\))*\);?\s*$",
    r"^[ \t]*[\w.\[\]]+ ?[-+*/|:]?= ?[^=;\n]*;\s*$",
    r"^(?:RUN|CMD|COPY|ENTRYPOINT) .*",
    r"^.*(?:->[ ]?\w+ ?[{:]|\w::\w|\)\.\w+\().*",
)

# What only adds to it
_ADDS = (
    r"^[ \t]*[\w.\[\]]+ ?[-+*/|:]?(?:=|<-) ?\S",
    r"^\s*(?://|/\*|# |-- )\s*\w",
    r"^\s*(?:import|from|return|print) \w+\s*$",
    r"^\s*[\w-]+: ?[^;.\n]+;\s*$",
)


def looks_like_code(text: str) -> bool:
    """Whether there is code in `text`."""
    if any(fence in text for fence in FENCES):
        return True
    proof, seldom, adds = _automata()
    data = text[:LOOK_CHARACTERS].encode("utf-8", "replace")
    if proof.search(data):
        return True
    found = _count(seldom, data, MEDIUM)
    return found >= MEDIUM or (found > 0 and _count(adds, data, WEAK) >= WEAK)


def _count(automaton: Any, data: bytes, most: int) -> int:
    """How many lines match, up to `most`."""
    found = at = 0
    while found < most and (match := automaton.search(data, at)) is not None:
        found += 1
        at = data.find(b"\n", match.end()) + 1
        if not at:
            break
    return found


@functools.cache
def _automata() -> tuple[Any, Any, Any]:
    import re2  # type: ignore[import-untyped]

    options = re2.Options()
    options.never_capture = True
    options.max_mem = 16 * 1024 * 1024
    proof = rf"(?m)^[ \t]*(?:>{{1,3}}|[$>])? ?(?:{'|'.join(_BEGINS)})|{'|'.join(_INSIDE)}"
    seldom, adds = f"(?m){'|'.join(_SELDOM)}", f"(?m){'|'.join(_ADDS)}"
    return re2.compile(proof, options), re2.compile(seldom, options), re2.compile(adds, options)
