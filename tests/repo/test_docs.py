"""The documentation agrees with the repository and the code, the site builds, and workflows use pinned actions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import openai_batch

ROOT = Path(__file__).parents[2]
MAIN = "https://github.com/parasail-ai/openai-batch/blob/main/"
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    """Relative links of a page lead to files of the repository. The README, which PyPI shows, has absolute URLs."""
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    urls = re.findall(rf"\]\({MAIN}([^)#\s]+)", text)
    assert [url for url in urls if not (ROOT / url).exists()] == []
    if page.name == "README.md":
        assert links == []
        assert len(urls) > 5


def test_every_file_to_edit_exists() -> None:
    """The table "Where a change belongs" names existing files of the package."""
    section = (
        (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Where a change belongs")[1].split("\n## ")[0]
    )
    paths = re.findall(r"`([a-z_0-9/]+(?:\.py|/))`", section)
    assert len(paths) > 30
    names = {path.name for path in (ROOT / "openai_batch").rglob("*.py")}
    missing = [
        path
        for path in paths
        if path not in names and not (ROOT / path).exists() and not (ROOT / "openai_batch" / path).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_section_leads_to_its_heading(page: Path) -> None:
    """A link with a # leads to a heading of its page."""
    for link, section in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        target = page.parent / link if link else page
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        names = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}  # GitHub's rule
        assert section in names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_in_the_repository_exists(page: Path) -> None:
    """A path from the root of the repository in a page exists."""
    paths = re.findall(r"`((?:tests|docs|benchmarks|completions|openai_batch)/[a-z_0-9/.]*)`", page.read_text("utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_example_of_a_planted_bug_is_an_entry() -> None:
    """The planted bug in CONTRIBUTING.md is an entry of mutants.toml."""
    example = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    assert example in (ROOT / "tests" / "mutants.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda path: path.name)
def test_actions_are_pinned(path: Path) -> None:
    """Each third-party action is pinned by its full commit hash, with the version in a comment."""
    used = re.findall(r"uses: (?!\$/)(.*)", path.read_text(encoding="utf-8"))
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)] == []


def _made(code: str) -> str:
    """Return the output of a program in docs/."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=DOCS, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_reference_of_the_python_api_is_current() -> None:
    """The page is the output of `python docs/make_api.py`, and has every public name."""
    written = (DOCS / "api.md").read_text(encoding="utf-8")
    assert _made("import make_api; print(make_api.page(), end='')") == written
    names = {name.removesuffix("_async") for name in [*openai_batch.__all__, "map"]} - {"__version__"}
    assert {name for name in names if f"`{name}`" not in written} == set()


def test_the_other_pages_of_the_reference_are_current() -> None:
    """The files are those that `python docs/make_reference.py` writes, and there are no others."""
    made = json.loads(_made("import json, make_reference; print(json.dumps(make_reference.pages()))"))
    there = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "reference").iterdir()}
    assert made == there, "run: python docs/make_reference.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="it needs a terminal")
def test_the_picture_is_current() -> None:
    """The command prints what the picture shows, except for times and line breaks."""

    def texts(svg: str) -> str:
        shown = "".join(re.findall(r"<text[^>]*>([^<]*)", svg)).replace("&#160;", " ")
        return re.sub(r"[;,]took\d+s", "", re.sub(r"\s+", "", shown))

    assert texts(_made("import make_picture; print(make_picture.picture())")) == texts(
        (DOCS / "assets" / "run.svg").read_text(encoding="utf-8")
    ), "run: python docs/make_picture.py"


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Each page is in the menu, all links work, and nothing is loaded from another host."""
    folder = tmp_path / "docs"
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns("site", ".cache", "__pycache__", ".*_cache"))
    project = tomllib.loads((folder / "zensical.toml").read_text(encoding="utf-8"))["project"]
    named = set(re.findall(r"'([^']+\.md)'", str(project["nav"])))
    excluded = set(project["exclude_docs"].split())
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}
    assert named == pages - excluded
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(folder / "zensical.toml")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    html = (folder / "site" / "index.html").read_text(encoding="utf-8")
    assert "run.svg" in html
    assert re.findall(r'<(?:script|link rel="stylesheet"|img)[^>]*(?:src|href)="https?:', html) == []


def test_the_readme_is_short_and_has_the_lines_for_a_fresh_machine() -> None:
    """One line installs the package and runs an example, and another one installs it and runs the tests."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") < 150
    assert "docs/assets/run.svg" in text
    lines = [line for line in text.splitlines() if line.startswith("python -m pip install") and "&&" in line]
    assert [line.split(" && ")[-1] for line in lines] == [
        "obatch run --example --provider local",
        "python -m pytest -n 2",
    ]


def test_each_error_of_the_troubleshooting_page_is_one_of_the_code() -> None:
    """The fixed words of each heading are in one file of the package, in this order."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "openai_batch").rglob("*.py")]
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### `([^`]+)`", page, re.MULTILINE)
    assert len(headings) > 20
    for heading in headings:
        pattern = ".{0,120}?".join(re.escape(piece.strip()) for piece in heading.split("…") if piece.strip())
        assert any(re.search(pattern, source, re.DOTALL) for source in sources), heading
