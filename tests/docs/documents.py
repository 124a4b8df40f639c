"""The documents, and the programs in them.

A program stands in a document in blocks, with text between them. What follows the backquotes says what a block is:

    cpp letters.cpp             the next part of the program letters.cpp; includes, then all else as in a file
    text letters.cpp            the next part of what that program prints; a line "…" stands for any lines
    cpp examples/hello.cpp      a part of that file, letter by letter

Other languages, and text without a name, are not looked at; C++ without a name is an error.

    documents.py FOLDER         writes the programs as sources: one namespace each, two files and a main()
"""

import pathlib
import re
import sys
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parents[2]
FILES = 2


def documents():
    return sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md"))


@dataclass
class Block:
    document: str
    line: int  # of its first line of text, from 1
    language: str
    name: str
    text: str


def blocks():
    for path in documents():
        document = path.relative_to(ROOT).as_posix()
        opened = None
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            if not line.lstrip().startswith("```"):
                if opened:
                    opened.text += line + "\n"
            elif opened:
                yield opened
                opened = None
            else:
                words = line.strip().removeprefix("```").split()
                opened = Block(document, number + 1, words[0] if words else "", " ".join(words[1:]), "")
        assert opened is None, f"{document}: a block is not closed"


@dataclass
class Program:
    parts: list = field(default_factory=list)
    output: str = ""

    @property
    def runs(self):
        return any("int main(" in part.text for part in self.parts)


def programs():
    """The programs by name, in the order of the documents."""
    found = {}
    for block in blocks():
        if not block.name or "/" in block.name:
            continue
        program = found.setdefault(block.name, Program())
        if block.language == "cpp":
            program.parts.append(block)
        elif block.language == "text":
            program.output += block.text
    return found


def quotations():
    """Blocks that are parts of files."""
    return [block for block in blocks() if block.language == "cpp" and "/" in block.name]


def write_sources(folder):
    # Includes and using-directives come first; each program lives in a namespace, its main() under another name.
    sources = [["#include <string_view>\n"] for _ in range(FILES)]
    bodies = [[] for _ in range(FILES)]
    table = []
    for number, (name, program) in enumerate(programs().items()):
        namespace = "program_" + re.sub(r"\W", "_", name)
        body = bodies[number % FILES]
        body.append(f"namespace {namespace} {{\n")
        for part in program.parts:
            lines = part.text.splitlines(keepends=True)
            sources[number % FILES] += [line for line in lines if line.startswith("#include")]
            lines = ["\n" if line.startswith("#include") else line for line in lines]
            body.append(f'#line {part.line} "{part.document}"\n' + "".join(lines))
        if program.runs:
            body[-1] = re.sub(r"\}\s*$", "return 0;\n}\n", body[-1])
            table.append((name, namespace))
        body.append("}\n")
    for number in range(FILES):
        text = "".join(sources[number]) + "".join(bodies[number]).replace("int main(", "int run(")
        (folder / f"programs_{number}.cpp").write_text(text)
    lines = [f"namespace {namespace} {{ int run(); }}" for _, namespace in table]
    lines += ["#include <cstdio>", "#include <cstring>", "int main(int, char** argv) {"]
    lines += [f'    if (std::strcmp(argv[1], "{name}") == 0) return {namespace}::run();' for name, namespace in table]
    lines += ['    std::fprintf(stderr, "no such program\\n");', "    return 2;", "}"]
    (folder / "programs_main.cpp").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    write_sources(pathlib.Path(sys.argv[1]))
