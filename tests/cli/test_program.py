"""The program around the commands: help, start, errors on one line, exit statuses."""

import signal

import pytest

from caffe2py import __version__
from caffe2py.cli.entry import COMMANDS, INTERRUPTED, PIPE_CLOSED
from caffe2py.errors import Error, ShapeError
from tests.toy import net, op


def test_version(cli):
    assert cli("--version").stdout == f"caffe2py {__version__}\n"


def test_help_lists_every_command(cli):
    for flag in ("--help", "-h"):
        result = cli(flag)
        assert result.exit_code == 0
        assert all(f"  {name} " in result.stdout for name in COMMANDS)
        assert "Exit status" in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_commands(cli, name):
    result = cli(name, "-h")
    assert result.exit_code == 0
    assert f"Usage: caffe2py {name}" in result.stdout
    assert "--help" in result.stdout


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_start_imports_little(process, flag):
    code = (
        "import sys\nfrom caffe2py.cli import main\n"
        f"sys.argv = ['caffe2py', '{flag}']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = ('numba', 'llvmlite', 'numpy', 'google', 'PIL', 'caffe2py.core')\n"
        "print('loaded', [n for n in heavy if n in sys.modules])"
    )
    out, _ = process(code=code).communicate()
    assert out.splitlines()[-1] == "loaded []"


def test_no_arguments_shows_the_help(cli):
    result = cli()
    assert result.exit_code == 2
    assert "Commands:" in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("args", "match"),
    [
        (["rum"], "there is no command 'rum'; did you mean run or resume? (try: caffe2py --help)"),
        (["run"], "Missing argument 'NET'. (try: caffe2py run --help)"),
        (["run", "x", "--inptu", "y"], "No such option '--inptu'"),
        (["run", "x", "--iter", "0"], "--iter"),
        (["run", "x", "--atol", "small"], "--atol"),
        (["--nonsense"], "No such option '--nonsense'"),
        (["ops", "Relu", "--missing"], "exclude each other"),
    ],
)
def test_usage(failing, args, match):
    assert match in failing(2, *args)


def broken(error):
    def command(*args, **kwargs):
        raise error

    return command


@pytest.fixture
def command_raises(monkeypatch):
    import caffe2py.cli.convert as module

    return lambda error: monkeypatch.setattr(module, "read_net_or_plan", broken(error))


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ShapeError("no fit", where="op #0"), 1, "op #0: no fit"),
        (Error("two\nlines\x1b[31m"), 1, "two lines"),
        (MemoryError(), 5, "out of memory"),
        (MemoryError("more"), 5, "out of memory: more"),
        (PermissionError(13, "Permission denied", "x.pb"), 5, "x.pb: Permission denied"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ZeroDivisionError("by zero"), 1, "unexpected ZeroDivisionError: by zero (try: CAFFE2PY_"),
        (RecursionError("deep"), 1, "unexpected RecursionError"),
    ],
)
def test_errors_are_one_line(failing, command_raises, error, code, text):
    command_raises(error)
    line = failing(code, "convert", "x.pb", "y.pb")
    assert text in line
    assert "\x1b" not in line
    assert "Traceback" not in line


def test_traceback_on_request(cli, command_raises, monkeypatch):
    command_raises(ZeroDivisionError("by zero"))
    monkeypatch.setenv("CAFFE2PY_TRACEBACK", "1")
    result = cli("convert", "x.pb", "y.pb")
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: unexpected ZeroDivisionError")


def test_closed_pipe(process):
    child = process("ops")
    child.stdout.close()
    assert child.wait(60) == PIPE_CLOSED
    assert child.stderr.read() == ""


def test_interrupt(process, save):
    path = save("x.pb", net(op("Relu", "x", "y")))
    child = process("-c", code=SLOW.format(path=path))
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGINT)
    assert child.wait(60) == INTERRUPTED
    assert child.stderr.read().strip() == "error: interrupted"


SLOW = """
import sys, time
import caffe2py.cli.run as module
from caffe2py.cli import main

class Slow(module.Session):
    def run(self):
        print("ready", flush=True)
        while True:
            time.sleep(0.1)

module.Session = Slow
sys.argv = ["caffe2py", "run", "{path}", "--input", "3"]
main()
"""


def test_no_colours(cli, save):
    path = save("x.pb", net(op("Relu", "x", "y")))
    for args in (["--help"], ["run", path, "--input", "1x3"], ["print", path], ["run", "no"]):
        result = cli(*args)
        assert "\x1b" not in result.stdout + result.stderr


def test_logs_go_to_stderr_and_can_be_silenced(cli, save):
    path = save("predict_net.pb", net(op("Relu", "x", "y"), op("Add", "y w", "z")))
    loud, quiet = cli("summary", path), cli("summary", "-q", path)
    assert loud.stderr.startswith("warning: the init net is missing")
    assert quiet.stderr == ""
    assert loud.stdout == quiet.stdout


def test_module_is_the_program(process):
    out, _ = process("--version").communicate()
    assert out == f"caffe2py {__version__}\n"
