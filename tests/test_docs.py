"""The documentation does what it says.  CONTRIBUTING.md tells how a block is marked."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser, SkipParser

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.exists()
]
FILE_NAME = re.compile(r"# ([\w./-]+\.\w+)\n")
RUN = re.compile(r"<!-- run(?:: exit (\d+))? -->")
COMMANDS = {
    "kairos": [sys.executable, "-c", "import sys; from kairos.cli import main; sys.exit(main())"],
    "python": [sys.executable],
}


class Page:
    """One document being executed in `folder`; remembers what its last block printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""
        self._python = PythonEvaluator()

    def check(self, path: Path) -> int:
        """Execute every block, and return how many blocks did something."""
        blocks = [("python", self._run_python), ("bash", self._run_shell), ("text", self._compare)]
        parsers = [CodeBlockParser(language, evaluator) for language, evaluator in blocks]
        document = Sybil([*parsers, SkipParser()]).parse(path)
        document.namespace["__name__"] = "__main__"
        examples = list(document.examples())
        for example in examples:
            example.evaluate()
        return len(examples)

    def _run_python(self, example: Example) -> None:
        named = FILE_NAME.match(example.parsed)
        if named:
            (self.folder / named[1]).write_text(example.parsed, encoding="utf-8")
            return
        with contextlib.redirect_stdout(io.StringIO()) as out:
            self._python(example)
        self.printed = out.getvalue()

    def _run_shell(self, example: Example) -> str | None:
        marked = RUN.fullmatch(marker(example))
        if marked is None:
            return None
        expected = int(marked[1] or 0)
        self.printed = ""
        for line in example.parsed.splitlines():
            words = shlex.split(line, comments=True)
            if not words:
                continue
            done = subprocess.run(
                [*COMMANDS[words[0]], *words[1:]],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "100"},
                capture_output=True,
                text=True,
                check=False,
            )
            self.printed += done.stdout
            if done.returncode != expected:
                return f"{line}: exit {done.returncode}, not {expected}\n{done.stdout}{done.stderr}"
        return None

    def _compare(self, example: Example) -> str | None:
        if marker(example) != "<!-- prints -->":
            return None
        expected = ".*".join(re.escape(part) for part in example.parsed.strip().split("…"))
        if re.fullmatch(expected, self.printed.strip(), re.DOTALL):
            return None
        return f"expected:\n{example.parsed}\nprinted:\n{self.printed}"


def marker(example: Example) -> str:
    """Return the line above a block."""
    before: str = example.document.text[: example.start]
    return before.rstrip().rsplit("\n", 1)[-1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (ROOT / "examples").is_dir():
        shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    try:
        Page(tmp_path).check(page)
    finally:  # a page may set what it likes, for itself
        os.environ.clear()
        os.environ.update(before)


SOUND = """\
```python
# doubles.py
import sys
print(int(sys.argv[1]) * 2, "in 3 ms")
sys.exit(int(sys.argv[1]) - 21)
```

```python
answer = 42
```

```python
print(answer)
```

<!-- prints -->
```text
42
```

<!-- run -->
```bash
python doubles.py 21  # a comment
```

<!-- prints -->
```text
42 in … ms
```

<!-- run: exit 1 -->
```bash
python doubles.py 22
```

<!-- skip: next -->
```python
raise SystemExit("left out")
```

```bash
rm -rf is only shown
```
"""


def test_a_page_whose_blocks_hold_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text(SOUND, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert Page(tmp_path).check(tmp_path / "page.md") == 10


@pytest.mark.parametrize(
    "text, fault",
    [
        ("```python\nassert 1 == 2\n```\n", AssertionError),
        ("<!-- run -->\n```bash\npython -c 'raise SystemExit(1)'\n```\n", AssertionError),
        ("<!-- run: exit 1 -->\n```bash\npython -c pass\n```\n", AssertionError),
        ("<!-- run -->\n```bash\nrm -rf folder\n```\n", KeyError),
        ("```python\nprint(1)\n```\n\n<!-- prints -->\n```text\n2\n```\n", AssertionError),
    ],
    ids=[
        "a false assertion",
        "a failing command",
        "a missed failure",
        "a foreign command",
        "output",
    ],
)
def test_a_page_that_does_not_hold_is_refused(
    text: str, fault: type[Exception], tmp_path: Path
) -> None:
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    with pytest.raises(fault):
        Page(tmp_path).check(tmp_path / "page.md")
