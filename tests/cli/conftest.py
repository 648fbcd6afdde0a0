"""Running command lines, in this process and in others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from caffe2py.cli import program
from caffe2py.proto.files import write_message

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cli():
    """`cli("run", path)` -> exit_code, stdout, stderr; what escapes a command is a test's error."""

    def run(*args):
        result = CliRunner().invoke(program, [str(a) for a in args])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def failing(cli):
    """The one line of an error, without "error: ", once its exit status is as expected."""

    def run(code, *args):
        result = cli(*args)
        assert result.exit_code == code, (result.exit_code, result.stdout, result.stderr)
        lines = [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]
        assert len(lines) == 1, result.stderr
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")

    return run


@pytest.fixture
def save(tmp_path):
    """`save("x.pb", net)` writes a message and gives its path."""

    def write(name, message):
        write_message(tmp_path / name, message)
        return tmp_path / name

    return write


@pytest.fixture
def process():
    """A process of the command line: `process("--help")` is a Popen with pipes."""
    children = []

    def start(*args, code=None, **environment):
        command = ["-c", code] if code else ["-m", "caffe2py", *map(str, args)]
        child = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()
