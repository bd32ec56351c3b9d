"""deploy/README.md tells every setting, with its default, and no setting that does not exist."""

import re
from dataclasses import fields
from pathlib import Path

from deploy.settings import PREFIX, Secret, Settings

README = Path(__file__).parents[3] / "deploy" / "README.md"


def row(name: str, default: object) -> str:
    """The first two cells of a setting's row."""
    shown = default.reveal() if isinstance(default, Secret) else default
    return f"| `{PREFIX}{name.upper()}` | {'–' if shown in ('', None) else f'`{shown}`'} |"


def test_the_table_has_every_setting_with_its_default_in_the_order_of_settings_py():
    told = re.findall(rf"^\| `{PREFIX}\w+` \| [^|]+ \|", README.read_text(), re.MULTILINE)
    assert told == [*(row(field.name, field.default) for field in fields(Settings)), row("failpoints", "")]


def test_every_setting_says_what_it_means():
    for line in README.read_text().splitlines():
        if line.startswith(f"| `{PREFIX}"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 4, line
            assert all(cells), line
