"""The documents say what is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contrib.docs.generated import outdated
from pmigd.core.messages import HOST, MIGRATION
from pmigd.core.model import State
from pmigd.core.problem import KINDS, Code, Reason

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_what_is_generated_is_as_the_code_has_it() -> None:
    assert outdated(ROOT) == [], "run: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_and_path_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    targets = re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for named in re.findall(r"`make (\w+)`", text):
        assert named in targets
    for named in re.findall(r"`((?:pmigd|tests|contrib|docs|systemd)/[\w/.-]+)`", text):
        assert (ROOT / named).exists(), named


def test_the_guide_names_every_state() -> None:
    guide = (ROOT / "docs/guide.md").read_text()
    assert [state for state in State if f"`{state}`" not in guide] == []


def test_every_problem_has_all_that_is_fixed_about_it() -> None:
    assert set(KINDS) == set(Code)
    for code, kind in KINDS.items():
        assert 400 <= kind.status < 600, code
        assert kind.remedy.endswith("."), code
        assert not kind.title.endswith("."), code
        assert kind.reason in Reason


def test_every_code_that_leaves_a_migration_unresolved_has_a_row_in_the_runbook() -> None:
    runbook = (ROOT / "docs/runbooks/unresolved.md").read_text()
    for code in (
        Code.DESTINATION_SILENT,
        Code.TWO_COPIES,
        Code.SOURCE_LEFT_PAUSED,
        Code.GUEST_NOT_FOUND,
        Code.LIBVIRT_UNAVAILABLE,
    ):
        assert f"`{code}`" in runbook


def test_every_state_and_every_message_has_an_id_of_its_own() -> None:
    messages = [*MIGRATION.values(), *HOST.values()]
    assert list(MIGRATION) == list(State)
    assert all(re.fullmatch("[0-9a-f]{32}", message.id) for message in messages)
    assert len({message.id for message in messages}) == len(messages)
    assert [message.sentence for message in messages if not message.text + message.runbook] == []


def test_every_message_about_the_host_is_said_somewhere() -> None:
    code = "".join(path.read_text() for path in (ROOT / "pmigd").rglob("*.py"))
    said = set(re.findall(r'\blog\.\w+\(\s*"([^"]+)"', code))
    assert set(HOST) - said == set()


def test_the_catalog_is_text_without_markdown_in_which_only_fields_are_replaced() -> None:
    catalog = (ROOT / "systemd/pmigd.catalog").read_text()
    assert not re.search(r"\*\*|\]\(|^\|", catalog, re.MULTILINE)
    assert set(re.findall("@[^@]*@", catalog)) == {
        "@PMIGD_DOMAIN@",
        "@PMIGD_MIGRATION@",
        "@PMIGD_PEER@",
        "@PMIGD_REASON@",
    }


def test_the_readme_shows_the_two_commands_first() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.index("make demo") < readme.index("make test") < readme.index("## Install")
