"""Program code in a text, told from prose and from data."""

from __future__ import annotations

import time

import pytest

from proxy.openai.code import LOOK_CHARACTERS, looks_like_code

CODE = {
    "a fence": "Why?\n```\nx\n```",
    "a fence of tildes": "~~~\nx\n~~~",
    "python": "fix this\nx = 5\nfor i in range(x):\n    print(i)\n",
    "python imports": "import os\nimport sys\nprint(os.getcwd())\nsys.exit(1)",
    "python def in a sentence": "Add type hints: def add(a, b): return a + b",
    "python indented": "    if x > 3:\n        y = 2\n    else:\n        y = 3",
    "a prompt of python": ">>> import numpy as np\n>>> np.zeros(3)",
    "a python stack": 'I get:\nTraceback (most recent call last):\n  File "a.py", line 3, in <module>\nNameError: x',
    "a java stack": "java.lang.NullPointerException\n\tat com.acme.Main.run(Main.java:42)",
    "javascript": "why undefined?\nconst a = await fetch(url)",
    "javascript let": "let total = 0;\nitems.forEach(i => total += i.price);",
    "typescript": "interface User {\n  id: number;\n  name: string;\n}",
    "go": 'func main() {\n\tfmt.Println("hi")\n}',
    "rust": "fn main() {\n    let mut v = vec![1];\n    v.push(2);\n}",
    "java": "public class A {\n  public static void main(String[] args) {\n  }\n}",
    "c": "int main(void) {\n  return 0;\n}",
    "c++": "#include <vector>\nusing namespace std;",
    "c#": "public async Task<int> Get() {\n return 1;\n}",
    "php": "<?php echo 1; ?>",
    "ruby": 'def greet(name)\n  puts "hi #{name}"\nend',
    "kotlin": "fun main() {\n    val x = listOf(1)\n    println(x)\n}",
    "swift": "let x = [1,2]\nfor i in x {\n  print(i)\n}",
    "haskell": 'main :: IO ()\nmain = do\n  putStrLn "x"',
    "r": "x <- c(1,2,3)\nmean(x)\nplot(x)",
    "sql": "SELECT count(*) FROM users WHERE created > now()",
    "sql in a sentence": "Optimise: select a, b from t where x = 1",
    "sql over lines": "select u.name,\n  count(*)\nfrom users u\ngroup by u.name;",
    "ddl": "CREATE TABLE t (id int)",
    "shell": 'what does this do\nfor f in *.txt; do\n  mv "$f" "${f%.txt}.md"\ndone',
    "curl": "convert curl -X POST https://x -d 1",
    "a command": "pip install requests fails",
    "html": '<div class="a">\n<p>hi</p>\n</div>',
    "css": ".btn {\n  color: red;\n  padding: 4px;\n}",
    "a container file": 'FROM python:3.11\nRUN pip install x\nCMD ["python", "a.py"]',
    "a makefile": "all: build\n\tgcc -o a a.c\n",
    "a diff": "--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@\n-foo\n+bar",
    "in backticks": "What does `foo(bar)` return?",
    "a lambda": "explain lambda x, y: x + y",
}
NO_CODE = {
    "nothing": "",
    "a question": "What is the capital of France?",
    "about code": "Write a function that merges overlapping intervals",
    "about a language": "python: how to sleep for 2 seconds",
    "about git": "how do I use git to revert?",
    "a mail": "Dear John,\n\nThank you for your note; we will get back to you.\n\nBest,\nAnna (Sales)\n",
    "a poem": "Roses are red;\nviolets are blue;\nsugar is sweet;\nand so are you.",
    "a contract": "The parties agree as follows:\n(a) the Seller shall deliver;\n(b) the Buyer shall pay; and\n(c) notice is in writing;",
    "json": '{\n  "a": 1,\n  "b": {\n    "c": [1, 2]\n  }\n}',
    "json in a line": 'Convert to YAML: {"a": 1, "b": [2, 3]}',
    "yaml": "name: x\nitems:\n  - a\n  - b\n",
    "csv": "a,b,c\n1,2,3\n4,5,6",
    "a log": '10.0.3.152 - - [12/Mar/2026:10:00:00 +0000] "POST /api/cart HTTP/1.1" 200 7886\n10.0.9.17 - - [12/Mar] "POST / HTTP/1.1" 304',
    "mathematics": "E = mc^2\nF = ma\nPV = nRT\nwhat are these?",
    "let in mathematics": "let x = 5 be a number and let me know",
    "markdown": "# Title\n\n- one\n- two\n\n1. a\n2. b (c)\n",
    "import duties": "import taxes on cars from Japan\nfrom now on import duties rise",
    "a selection": "Select the best option from the list below.",
    "a class": "class of 1999: where are they now?",
    "conditions": "for the record:\nif you ask me:\nhere is why",
    "a recipe": "Ingredients:\n2 cups flour\n1 tsp salt (fine)\nMethod:\nmix; bake; serve",
    "a chat": "Anna: hi!\nBob: hello (waves)\nAnna: bye;",
    "a link": "See https://example.com/a?b=c&d=e; thanks",
    "smileys": ":) ;)\n=> yes\n;)",
    "settings": "DB_HOST=localhost\nDB_PORT=5432",
    "an update": "UPDATE: the meeting is moved; please confirm",
    "variance": "var means variance in finance",
    "Chinese": "证明：任意五个连续整数的乘积能被120整除；并推广到 k 个。",
    "a lone surrogate": "a\ud800b",
}


@pytest.mark.parametrize("text", CODE.values(), ids=CODE)
def test_code_is_seen(text: str) -> None:
    assert looks_like_code(text)
    assert looks_like_code(f"Please help me with this:\n\n{text}\n\nThanks!")


@pytest.mark.parametrize("text", NO_CODE.values(), ids=NO_CODE)
def test_prose_and_data_are_no_code(text: str) -> None:
    assert not looks_like_code(text)
    assert not looks_like_code(f"Please help me with this:\n\n{text}\n\nThanks!")


def test_what_is_far_down_in_a_long_text_is_not_looked_for() -> None:
    assert looks_like_code("word " * 1000 + "\n" + CODE["rust"])
    assert not looks_like_code("word " * LOOK_CHARACTERS + "\n" + CODE["rust"])


@pytest.mark.parametrize(
    "piece",
    [
        " ",
        "\n",
        "(",
        "a(",
        "def ",
        "SELECT ",
        "select a,",
        "x=",
        "f(()",
        "if ((((",
        "{",
        "let {",
        "public a b ",
        "<div ",
        "\t\n ",
        "`",
        "}]",
        "$(",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (LOOK_CHARACTERS // len(piece))
    looks_like_code(text)
    best = min(_taken_s(text) for _ in range(5))

    assert best < 0.005  # 0.1 ms on a quiet machine


def _taken_s(text: str) -> float:
    started = time.perf_counter()
    looks_like_code(text)
    return time.perf_counter() - started
