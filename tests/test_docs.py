"""The documentation is true: its Python runs, its shell parses, its links lead somewhere.

A comment on the line before a code block changes how the block is taken:

    <!-- test: continues -->            a program together with the Python block before it
    <!-- test: skip because REASON -->  not run; the reason is a must
    <!-- test: raises NAME -->          ends with this exception
    <!-- test: plugins -->              run with the plugins that are installed, which tests leave out otherwise
    <!-- test: framework torch -->      the same, with the tests' version of torch on the nodes; also jax, keras, ...
    <!-- test: containers -->           run on real containers, with the tests' base in the place of the default image
    <!-- test: aws -->                  run on AWS as the tests have it, whose machines are real containers
    <!-- test: runpod -->               the same with RunPod; also vastai, verda, digitalocean
    <!-- test: file PATH -->            not run: it is this file of the repository, to the letter
    <!-- test: pytest -->               the tests of it pass
    <!-- test: pytest fails -->         some test of it does not
    <!-- test: output -->               on a text block: what the program before it prints ("..." stands for anything)

Every other Python block is a program of its own, run in an empty directory.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fakes.fixtures import digitalocean as digitalocean
from fakes.fixtures import runpod as runpod
from fakes.fixtures import vastai as vastai
from fakes.fixtures import vendor_yard as vendor_yard
from fakes.fixtures import verda as verda
from frameworks import constraints, needs
from rig.fixtures import aws as aws
from rig.fixtures import rig_server as rig_server

ROOT = Path(__file__).resolve().parent.parent
BASE = os.environ.get("SKYWARD_TEST_BASE", "localhost/debian-trixie-standin")
SHELLS = {"sh", "bash", "shell", "console"}
VENDORS = ("digitalocean", "runpod", "vastai", "verda")
"""Directives, and the fixtures of the same names."""
ALONE = ("aws", "containers", "continues", "output", "plugins", "pytest", *VENDORS)
"""Directives that need no further word."""
DIRECTIVE = re.compile(
    rf"<!--\s*test:\s*(?P<word>{'|'.join(ALONE)}|file|framework|raises|skip because)\b\s*(?P<rest>.*?)\s*-->"
)
FENCE = re.compile(r"(?P<indent>[ ]*)(?P<mark>`{3,}|~{3,})[ ]*(?P<language>[\w+-]*)")


def documents() -> list[Path]:
    """Every Markdown file that git tracks, or would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"]
    names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return sorted(path for name in names if (path := ROOT / name).is_file())


class Block(NamedTuple):
    """A fenced code block; ``line`` is that of its first line of code, and ``word`` and ``rest`` are its directive."""

    path: Path
    line: int
    language: str
    code: str
    word: str
    rest: str

    @property
    def where(self) -> str:
        return f"{self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path.name}:{self.line}"


def blocks(path: Path) -> list[Block]:
    """The code blocks of a document, in order. A directive that is misspelt or has no block is an error."""
    found: list[Block] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    word = rest = ""
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if re.match(r"\s*<!--\s*test:", line):
            directive = DIRECTIVE.match(line.strip())
            assert directive, f"{path}:{number}: unknown directive: {line.strip()}"
            word, rest = directive["word"], directive["rest"]
            assert rest or word in ALONE, f"{path}:{number}: '{word}' needs a word more"
        elif fence := FENCE.match(line):
            start, end = number, re.compile(rf"\s*{fence['mark'][0]}{{{len(fence['mark'])},}}\s*$")
            while number < len(lines) and not end.match(lines[number]):
                number += 1
            code = "\n".join(text.removeprefix(fence["indent"]) for text in lines[start:number]) + "\n"
            found.append(Block(path, start + 1, fence["language"].lower(), code, word, rest))
            word = rest = ""
            number += 1
        elif line.strip():
            assert not word, f"{path}:{number}: the directive before this line belongs right above a code block"
    return found


class Program(NamedTuple):
    """Python blocks that make up one program, what it is to print, and the exception that is to end it."""

    where: str
    code: str
    output: str | None = None
    raises: str = ""
    skip: str = ""
    tests: str = ""
    needs: str = ""
    """``"plugins"`` for those that are installed; ``"containers"``, ``"aws"`` or a vendor for where else it runs."""
    framework: str = ""
    """What the nodes have."""


def programs(path: Path) -> list[Program]:
    """A document's Python, block by block, those joined that continue others."""
    made: list[Program] = []
    for block in blocks(path):
        if block.word == "output":
            assert made, f"{block.where}: no program stands before this output"
            made[-1] = made[-1]._replace(output=(made[-1].output or "") + block.code)
        elif block.language in {"python", "py"} and block.word != "file":
            # Blank lines put each line where it stands in the document, so that tracebacks name the right one.
            earlier = made[-1].code if block.word == "continues" and made else ""
            code = earlier + "\n" * (block.line - 1 - earlier.count("\n")) + block.code
            if block.word == "continues":
                assert made, f"{block.where}: no Python block stands before this one"
                made[-1] = made[-1]._replace(code=code)
            else:
                raises = block.rest if block.word == "raises" else ""
                skip = block.rest if block.word == "skip because" else ""
                tests = block.rest or "pass" if block.word == "pytest" else ""
                assert tests in {"", "pass", "fails"}, f"{block.where}: 'pytest' may be followed by 'fails' only"
                framework = block.rest if block.word == "framework" else ""
                needs = block.word if block.word in {"aws", "containers", "framework", "plugins", *VENDORS} else ""
                made.append(Program(block.where, code, None, raises, skip, tests, needs, framework))
    return made


def run(program: Program, folder: Path) -> str:
    """Run a program in ``folder``; its standard output. Fails unless it ends as the document says."""
    script = folder / ("test_example.py" if program.tests else "example.py")
    script.write_text(program.code, encoding="utf-8")
    quiet = ["-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"] if program.tests else []
    command = [sys.executable, *quiet, str(script)]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    if program.needs:
        environ.pop("SKYWARD_DISABLE_PLUGINS", None)
    if program.framework:
        environ["UV_CONSTRAINT"] = str(constraints())
    limit = 1100 if program.framework else 500
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=limit)
    report = f"{program.where} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    if program.raises:
        assert re.search(rf"^(\w+\.)*{program.raises}\b", done.stderr, re.MULTILINE), report
    else:
        assert done.returncode == (program.tests == "fails"), report
    if program.output is not None:
        options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert doctest.OutputChecker().check_output(program.output, done.stdout, options), report
    return done.stdout


ALL_BLOCKS = [block for path in documents() for block in blocks(path)]
ALL_PROGRAMS = [program for path in documents() for program in programs(path)]


def marks(program: Program) -> list[pytest.MarkDecorator]:
    return needs(program.framework) if program.framework else []


@pytest.mark.parametrize(
    "program", [pytest.param(program, id=program.where, marks=marks(program)) for program in ALL_PROGRAMS]
)
def test_the_python_of_the_documentation_runs(
    program: Program, tmp_path: Path, require: Any, request: pytest.FixtureRequest
) -> None:
    if program.skip:
        compile(program.code, program.where, "exec")
        pytest.skip(program.skip)
    if program.needs == "aws":
        request.getfixturevalue("aws")
        # Nobody tells a machine of the tests its address; the rig's machines are reached from this one.
        program = program._replace(code=program.code.replace("sky.AWS(", "sky.AWS(ssh_from='198.51.100.7/32', "))
    if program.needs in VENDORS:
        request.getfixturevalue(program.needs)
    if program.framework:
        # The index of PyTorch itself cannot be reached from everywhere.
        wheels = program.code.replace("s.torch()", "s.torch(wheels='pypi')")
        program = program._replace(code=wheels.replace("s.transformers()", "s.transformers(wheels='pypi')"))
    if program.needs == "containers":
        require(has_image(), f"podman, and the image {BASE}, which scripts/ci-containers.sh makes")
        program = program._replace(code=program.code.replace("sky.Container(", f"sky.Container(image={BASE!r}, "))
    run(program, tmp_path)


FILES = [pytest.param(block, id=block.where) for block in ALL_BLOCKS if block.word == "file"]


@pytest.mark.parametrize("block", FILES)
def test_a_file_that_the_documentation_shows_is_that_file(block: Block) -> None:
    shown, there = block.code, (ROOT / block.rest).read_text(encoding="utf-8")
    assert shown == there, f"{block.where} and {block.rest} differ: copy the file there"


def has_image() -> bool:
    """Whether containers of the tests' base could be run here."""
    if shutil.which("podman") is None:
        return False
    return subprocess.run(["podman", "image", "exists", BASE], capture_output=True, check=False).returncode == 0


def commands(block: Block) -> str:
    """The commands of a shell block; a console block has its commands after a ``$`` and their output around them."""
    if block.language != "console":
        return block.code
    return "".join(line.removeprefix("$ ") + "\n" for line in block.code.splitlines() if line.startswith("$ "))


SHELL_BLOCKS = [pytest.param(block, id=block.where) for block in ALL_BLOCKS if block.language in SHELLS]


@pytest.mark.parametrize("block", SHELL_BLOCKS)
def test_the_shell_commands_of_the_documentation_parse(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=commands(block), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block.where}: {done.stderr}"


@pytest.mark.parametrize("block", SHELL_BLOCKS)
def test_every_make_target_that_the_documentation_names_exists(block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^\s*make ([a-z-]+)", commands(block), re.MULTILINE))
    assert named <= targets, f"{block.where}: the Makefile has no {named - targets}"


def prose(path: Path) -> str:
    """A document without its code."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^[ ]*(`{3,}|~{3,}).*?^[ ]*\1[ ]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """What a link may name after ``#``: the headings, spelt as GitHub and most other renderers do."""
    text = re.sub(r"^[ ]*(`{3,}|~{3,}).*?^[ ]*\1[ ]*$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,6}[ ]+(.+?)[ #]*$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(path: Path) -> list[str]:
    """The links of a document to files and headings that do not exist; those to other sites are not followed."""
    text = prose(path)
    targets = re.findall(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)", text) + re.findall(
        r"(?m)^\[[^\]]+\]:\s*(\S+)", text
    )
    broken = []
    for target in targets:
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(ROOT))) for path in documents()])
def test_the_links_of_a_document_resolve(path: Path) -> None:
    assert not broken_links(path)


# ---- the tests of all this -------------------------------------------------------------------------------------------


def document(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text.replace("'''", "```"), encoding="utf-8")
    return path


def test_a_block_runs_alone_unless_it_continues_another(tmp_path: Path) -> None:
    page = document(
        tmp_path,
        "'''python\na = 1\n'''\n\n<!-- test: continues -->\n'''python\nprint(a + 1)\n'''\n'''python\nprint(3)\n'''\n",
    )
    first, second = programs(page)
    assert run(first, tmp_path) == "2\n"
    assert run(second, tmp_path) == "3\n"


def test_a_block_that_fails_is_named_by_its_line_and_one_that_should_fail_must(tmp_path: Path) -> None:
    page = document(
        tmp_path, "Text\n\n'''python\n1 / 0\n'''\n<!-- test: raises ZeroDivisionError -->\n'''py\n1 / 0\n'''\n"
    )
    wrong, right = programs(page)
    with pytest.raises(AssertionError, match=r'page.md:4 ended with 1(.|\n)*example.py", line 4'):
        run(wrong, tmp_path)
    run(right, tmp_path)


def test_the_output_that_a_document_shows_must_be_what_is_printed(tmp_path: Path) -> None:
    page = document(tmp_path, "'''python\nprint('took 3 s')\n'''\n<!-- test: output -->\n'''text\ntook ... s\n'''\n")
    [program] = programs(page)
    run(program, tmp_path)
    with pytest.raises(AssertionError):
        run(program._replace(output="gave up\n"), tmp_path)


def test_a_block_that_shows_a_file_is_compared_with_it_and_not_run(tmp_path: Path) -> None:
    page = document(tmp_path, "<!-- test: file Makefile -->\n'''python\n1 / 0\n'''\n")
    assert not programs(page)
    [block] = blocks(page)
    with pytest.raises(AssertionError, match=r"page.md:3 and Makefile differ"):
        test_a_file_that_the_documentation_shows_is_that_file(block)
    test_a_file_that_the_documentation_shows_is_that_file(block._replace(code=(ROOT / "Makefile").read_text()))


def test_a_block_of_tests_is_run_by_pytest(tmp_path: Path) -> None:
    page = document(
        tmp_path,
        "<!-- test: pytest -->\n'''python\ndef test_a():\n    pass\n'''\n"
        "<!-- test: pytest fails -->\n'''python\ndef test_a():\n    assert 1 > 2\n'''\n",
    )
    right, wrong = programs(page)
    assert "1 passed" in run(right, tmp_path)
    assert "1 failed" in run(wrong, tmp_path)
    with pytest.raises(AssertionError, match=r"page.md:3 ended with 0"):
        run(right._replace(tests="fails"), tmp_path)
    with pytest.raises(AssertionError, match=r"page.md:8 ended with 1"):
        run(wrong._replace(tests="pass"), tmp_path)


@pytest.mark.parametrize("comment", ["<!-- test: skip -->", "<!-- test: skip because -->", "<!-- test: contnues -->"])
def test_a_directive_without_a_reason_or_misspelt_is_refused(comment: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"directive|needs"):
        blocks(document(tmp_path, f"{comment}\n'''python\npass\n'''\n"))


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path: Path) -> None:
    page = document(
        tmp_path, "# A Title, here\n\n[a](#a-title-here) [b](#none) [c](none.md) [d](https://x.y) `[e](f.md)`\n"
    )
    assert broken_links(page) == ["#none", "none.md"]
