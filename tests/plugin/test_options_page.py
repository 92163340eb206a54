"""The page of options is the one that the dataclasses give."""

from gradinit_mt.plugin.options_page import page


def test_the_page_in_docs_is_up_to_date(root):
    expected = (root / "docs/options.md").read_text()
    assert page() + "\n" == expected, "write it anew: see gradinit_mt/plugin/options_page.py"
