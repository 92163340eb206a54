"""Files with one JSON object per line."""

import pytest

from gradinit_mt.common import journal
from gradinit_mt.common.errors import UserError


@pytest.mark.parametrize("text", ['{"run": 1}\n{"run": 2}\n', '{"run": 1}\n{"run": 2}'])
def test_a_finished_file_is_read_whole_and_left_as_it_is(tmp_path, text):
    path = tmp_path / "runs.jsonl"
    path.write_text(text)
    assert journal.load(path) == [{"run": 1}, {"run": 2}]
    assert path.read_text() == text


@pytest.mark.parametrize("damaged", [b'{"run": 2', b"[2]", b"", b"2", b'{"run": "\xff"}'])
def test_a_damaged_line_is_refused_by_its_number(tmp_path, damaged):
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b'{"run": 1}\n' + damaged + b'\n{"run": 3}\n')
    for read in (journal.load, journal.resume):
        with pytest.raises(UserError, match=r"runs\.jsonl, line 2: expected a JSON object, found "):
            read(path)


def test_a_finished_file_must_be_there_and_one_to_resume_need_not(tmp_path):
    with pytest.raises(UserError, match=r"typo\.jsonl: no such file"):
        journal.load(tmp_path / "typo.jsonl")
    assert journal.resume(tmp_path / "new.jsonl") == []


def test_a_killed_run_resumes_after_its_last_whole_line(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"run": 1}\n{"ru')
    assert journal.resume(path) == [{"run": 1}]
    journal.add(path, {"run": 2})
    assert journal.load(path) == [{"run": 1}, {"run": 2}]
