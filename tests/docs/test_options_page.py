"""docs/options.md is what its script prints."""

import runpy


def test_the_page_is_up_to_date(root):
    page = runpy.run_path(str(root / "docs/options_page.py"))["page"]()
    assert (root / "docs/options.md").read_text() == page + "\n", "run the command at its head again"
