"""Documents of the repository, cut into the parts that tests look at: fenced blocks, links, headings."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.M)


@dataclass(frozen=True)
class Block:
    """One fenced block and where it begins."""

    path: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        """Give `README.md:12 (yaml)`, the id of its test."""
        return f"{self.path}:{self.line} ({self.language or 'plain'})"


def documents() -> list[Path]:
    """Every Markdown file that git knows or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [
        path for line in sorted(set(done.stdout.splitlines())) if (path := ROOT / line).is_file()
    ]


def blocks(*languages: str) -> list[Block]:
    """Every fenced block in one of these languages."""
    found = []
    for path in documents():
        text = path.read_text()
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            name = path.relative_to(ROOT).as_posix()
            found.append(Block(name, line, match["language"], match["text"]))
    return [block for block in found if block.language in languages]


def commands(block: Block) -> list[str]:
    """Commands of a shell block, one per line once continued lines are joined; comments left out."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    lines = (line.strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def prose(path: Path) -> str:
    """Text of a document without its fenced blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", path.read_text()))


def links(path: Path) -> list[str]:
    """Targets of all links of a document, outside its code."""
    return [match["target"] for match in _LINK.finditer(_FENCE.sub("", path.read_text()))]


def anchors(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCE.sub("", path.read_text()))
    plain = (
        re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text.replace("`", "")).lower() for text in headings
    )
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in plain}
