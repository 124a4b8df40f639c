"""What the documents name is there: links, files, scripts; and docs/from_pytorch.md names everything public."""

import re
import sys
import unittest

from documents import ROOT, blocks, documents

sys.path.insert(0, str(ROOT / "tests" / "structure"))
from source_tree import public_headers  # noqa: E402

FROM_PYTORCH = ROOT / "docs" / "from_pytorch.md"
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")
_FOLDERS = "autograd|layers|optim|data|io|train|examples|tests|bench|docs|scripts|cmake"
_PATH = re.compile(rf"(?<![\w./-])(?:unroll/)?((?:{_FOLDERS})/[\w./*-]*)(?![\w<])")
_DECLARATIONS = (
    r"(?:class|struct|enum class|enum)(?: \[\[\w+\]\])? (\w+)\b(?!::| *;)",
    r"using (\w+) =",
    r"concept (\w+)",
    r"inline constexpr \w+ (\w+)",
    r"UNROLL_(?:BINARY|UNARY)\((?!operator)(\w+), \w+\)$",
    r"(?!UNROLL_|template|requires|extern|#|/|\s)[\w:<>,&* ]*[>&*\w] (\w+)\(",
)


def prose(path):
    """The text of a document without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(path):
    heads = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def declarations(header):
    """The names that a header declares for its users: what begins a line, outside namespaces other than unroll and init."""
    names, depth = set(), 0  # depth: of braces from a hidden namespace on
    for line in (ROOT / header).read_text().splitlines():
        opened = re.match(r"namespace ([\w:]+) \{", line)
        if depth > 0 or (opened and opened.group(1) not in ("unroll", "unroll::init")):
            depth += line.count("{") - line.count("}")
            continue
        for pattern in _DECLARATIONS:
            found = re.match(pattern, line)
            if found:
                names.add(found.group(1))
                break
    return names


class References(unittest.TestCase):
    def test_links_lead_somewhere(self):
        wrong = []
        for path in documents():
            for target in _LINK.findall(prose(path)):
                if re.match(r"\w+:", target):
                    continue
                file, _, anchor = target.partition("#")
                to = (path.parent / file).resolve() if file else path
                if not to.exists() or (anchor and anchor not in anchors(to)):
                    wrong.append(f"{path.relative_to(ROOT)}: {target}")
        self.assertEqual(wrong, [])

    def test_files_that_are_named_exist(self):
        wrong = []
        for path in documents():
            for span in _SPAN.findall(prose(path)):
                for name in _PATH.findall(span):
                    if not list(ROOT.glob(name.rstrip("/."))):
                        wrong.append(f"{path.relative_to(ROOT)}: {name}")
        self.assertEqual(wrong, [])

    def test_from_pytorch_names_everything_public(self):
        text = FROM_PYTORCH.read_text()
        missing = []
        for header in public_headers():
            names = sorted(declarations(header))
            missing += [f"{name} ({header})" for name in names if not re.search(rf"\b{name}\b", text)]
        self.assertEqual(missing, [], "names that docs/from_pytorch.md does not have")

    def test_what_from_pytorch_names_exists(self):
        words = set()
        for header in public_headers():
            words |= set(re.findall(r"\w+", (ROOT / header).read_text()))
        wrong = []
        for line in prose(FROM_PYTORCH).splitlines():
            cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
            if not line.startswith("|") or len(cells) < 2:
                continue
            for span in _SPAN.findall(cells[1]):
                wrong += [f"{word} in {span}" for word in re.findall(r"[A-Za-z_]\w{3,}", span) if word not in words]
        self.assertEqual(wrong, [])

    def test_no_document_is_left_alone(self):
        linked = {ROOT / "README.md"}
        for path in documents():
            for target in _LINK.findall(prose(path)):
                linked.add((path.parent / target.partition("#")[0]).resolve())
        self.assertEqual([p.relative_to(ROOT).as_posix() for p in documents() if p not in linked], [])

    def test_lines_are_not_too_long(self):
        long = []
        code = {(b.document, b.line + i) for b in blocks() for i in range(b.text.count("\n"))}
        for path in documents():
            name = path.relative_to(ROOT).as_posix()
            for number, line in enumerate(path.read_text().splitlines(), start=1):
                if len(line) > 120 and not line.startswith("|") and (name, number) not in code:
                    long.append(f"{name}:{number}")
        self.assertEqual(long, [])


if __name__ == "__main__":
    unittest.main()
