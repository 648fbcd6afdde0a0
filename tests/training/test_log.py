"""The log: a line an iteration, that a crash can only cut at its end."""

import json

import pytest

from caffe2py.errors import FileError, ModelFormatError
from caffe2py.training.log import Log, read_log


def write(path, numbers, after=0):
    log = Log(path, after=after)
    for number in numbers:
        log.write({"iteration": number, "loss": 1 / number})
    log.close()


def numbers(path):
    return [record["iteration"] for record in read_log(path)]


def test_lines(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, [1, 2])
    assert path.read_text() == '{"iteration": 1, "loss": 1.0}\n{"iteration": 2, "loss": 0.5}\n'
    assert numbers(path) == [1, 2]


def test_what_was_done_after_the_checkpoint_is_dropped(tmp_path):
    path = tmp_path / "log.jsonl"
    write(path, range(1, 8))
    with path.open("a") as file:
        file.write('{"iteration": 8, "lo')
    assert numbers(path) == [1, 2, 3, 4, 5, 6, 7]
    write(path, [6, 7], after=5)
    assert numbers(path) == [1, 2, 3, 4, 5, 6, 7]
    write(path, [1])
    assert numbers(path) == [1]


def test_json_has_no_nan(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    log.write({"iteration": 1, "loss": float("nan")})
    log.close()
    text = (tmp_path / "log.jsonl").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["loss"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"iteration": 1}\nhello\n', "line 2 is no JSON object with an iteration: 'hello'"),
        ("[1]\n", "line 1 is no JSON object"),
        ("", "holds no iterations"),
    ],
)
def test_other_files(tmp_path, text, message):
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    with pytest.raises(ModelFormatError, match=message):
        read_log(path)


def test_files_that_cannot_be(tmp_path):
    with pytest.raises(FileError, match="cannot be read"):
        read_log(tmp_path / "none")
    with pytest.raises(FileError, match="cannot be written"):
        Log(tmp_path / "none" / "log.jsonl")
