"""The page of options is the one that the dataclasses give."""

from gradinit_mt.options import page


def test_the_page_in_docs_is_up_to_date(root):
    expected = (root / "docs/options.md").read_text()
    assert page() + "\n" == expected, "write it anew: .venv/bin/python -m gradinit_mt.options > docs/options.md"
