"""The commented etc/pmigd.toml is what the schema says, and every line in it is true."""

import re
from pathlib import Path

from pmigd.config.load import check_text
from pmigd.config.reference import reference_text

DELIVERED = Path(__file__).parents[3] / "etc" / "pmigd.toml"


def test_the_delivered_file_is_the_one_printed_from_the_schema() -> None:
    assert DELIVERED.read_text() == reference_text(), (
        "run: python -m pmigd.config.reference > etc/pmigd.toml"
    )


def test_the_delivered_file_changes_nothing() -> None:
    delivered = check_text(DELIVERED.read_bytes(), "f", host_name="a")
    assert delivered == check_text(b"", "f", host_name="a")


def test_every_key_uncommented_is_accepted_and_is_the_default() -> None:
    text = re.sub(r"(?m)^#(?=\[|[a-z])", "", reference_text()).replace("NAME]", "name]")
    config, findings = check_text(text.encode(), "f", host_name="a")
    assert findings == []
    assert config is not None
    assert config.peers.pop("name").uri == "qemu+tls://hostb.example.com/system"
    assert config == check_text(b"", "f", host_name="a")[0]
