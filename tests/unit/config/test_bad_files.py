"""Every file in tests/config_bad is refused with exactly the findings its first lines expect.

The lines read ``# expect: `` and what ``pmigd --check`` prints, with FILE for the file's name.
"""

from pathlib import Path

import pytest

from pmigd.config.load import check, format_finding

FOLDER = Path(__file__).parents[2] / "config_bad"
FILES = sorted(FOLDER.glob("*.toml"))
EXPECT = "# expect: "


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_fault_is_told_and_nothing_else(path: Path) -> None:
    lines = path.read_text().splitlines()
    expected = [line.removeprefix(EXPECT) for line in lines if line.startswith(EXPECT)]
    config, findings = check(path, host_name="thishost")
    told = [format_finding(finding).replace(str(path), "FILE", 1) for finding in findings]
    assert config is None
    assert expected
    assert sorted(told) == sorted(expected)


def test_there_are_bad_files_to_learn_from() -> None:
    assert len(FILES) >= 20
