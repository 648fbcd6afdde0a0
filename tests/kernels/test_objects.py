"""The cache of compiled kernels: what may go wrong with a folder, a disk and other processes."""

import hashlib
import os
import resource
import shutil
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from caffe2py.errors import UsageError
from caffe2py.kernels import cache, host, loader, objects

#: A process that runs one kernel on an array, and says how it came by it.
PROGRAM = """
import sys
import numpy as np
from caffe2py.kernels.copy import launch_copy
from caffe2py.kernels.jit import callable_at
x, y = np.arange(5, dtype=np.float32), np.zeros(5, np.float32)
launch = launch_copy(x, y)
assert callable_at(launch.address)(launch.block.ctypes.data) == 0
assert (x == y).all()
print("compiled" if "numba" in sys.modules else "loaded", end="")
"""


def start(folder, program=PROGRAM, **settings):
    environment = {**os.environ, "CAFFE2PY_CACHE_DIR": str(folder), **settings}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    return out, err


def run(folder, **settings):
    return finish(start(folder, **settings))[0]


def kernels(folder):
    return [p for p in folder.iterdir() if "-" not in p.name and p.suffix != ".tmp"]


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A folder with one kernel."""
    folder = tmp_path_factory.mktemp("cache") / "objects"
    assert run(folder) == "compiled"
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for this process."""
    path = tmp_path / "objects"
    monkeypatch.setenv("CAFFE2PY_CACHE_DIR", str(path))
    cache._warn.cache_clear()
    return path


# ---------------------------------------------------------------- processes


def test_the_next_process_loads_what_the_first_compiled(filled):
    assert run(filled) == "loaded"


def test_processes_that_start_together_on_an_empty_folder(tmp_path):
    folder = tmp_path / "objects"
    processes = [start(folder) for _ in range(3)]
    assert {finish(p)[0] for p in processes} <= {"compiled", "loaded"}
    assert len(kernels(folder)) == 1
    assert run(folder) == "loaded"


def test_only_the_user_can_read_and_write(filled):
    assert stat.S_IMODE(filled.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in filled.iterdir()} == {0o600}


OTHER_OPTION = {"NUMBA_BOUNDSCHECK": "0" if objects.bounds_checked() else "1"}


@pytest.mark.parametrize(
    "settings", [{"CAFFE2PY_VECTOR_BYTES": "16"}, OTHER_OPTION], ids=["cpu", "option"]
)
def test_what_another_processor_or_option_would_need_is_another_kernel(filled, settings):
    before = len(kernels(filled))
    assert run(filled, **settings) == "compiled"
    assert len(kernels(filled)) == before + 1


def test_another_version_is_another_key(monkeypatch):
    found = host._host()
    before = objects.key("kernel")
    for change in ({"versions": "numba=9"}, {"cpu": "i386"}, {"features": ""}, {"triple": "vax"}):
        monkeypatch.setattr(host, "_host", lambda change=change: found._replace(**change))
        host.platform_text.cache_clear()
        assert objects.key("kernel") != before
    monkeypatch.undo()
    host.platform_text.cache_clear()
    assert objects.key("kernel") == before


def test_what_is_remembered_of_the_processor_is_what_llvm_says(folder):
    host._host.cache_clear()
    try:
        asked = host._host()
        host._host.cache_clear()
        assert host._host() == asked == host._asked()
        assert [p.name for p in folder.iterdir() if p.name.startswith("host-")]
    finally:
        host._host.cache_clear()


# ---------------------------------------------------------------- files


DAMAGE = {
    "empty": lambda content: b"",
    "short": lambda content: content[:20],
    "truncated": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "flipped": lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
    "no hash": lambda content: content[32:],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_not_there(folder, damage, caplog):
    cache.write("name", b"content" * 50)
    (folder / "name").write_bytes(DAMAGE[damage]((folder / "name").read_bytes()))
    assert cache.read("name") is None
    assert "damaged" in caplog.text
    cache.write("name", b"new")
    assert cache.read("name") == b"new"


def test_a_damaged_kernel_is_compiled_anew(tmp_path, filled):
    folder = tmp_path / "objects"
    folder.mkdir(mode=0o700)
    for p in kernels(filled):
        content = p.read_bytes()
        (folder / p.name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    out, err = finish(start(folder))
    assert out == "compiled"
    assert "is damaged" in err
    assert run(folder) == "loaded"


def test_a_whole_file_that_is_no_kernel_is_refused_by_the_loader():
    for code in (b"", b"x" * 300, b"\x7fELF\x02\x01\x01" + b"\0" * 57, b"\x7fELF" + b"\xff" * 300):
        assert loader.load(code, "f") is None


def test_a_kernel_under_a_wrong_name_is_not_run(filled):
    (code, *_) = [p.read_bytes()[32:] for p in kernels(filled)]
    assert loader.load(code, objects.symbol("0" * 40)) is None


OTHER = PROGRAM.replace("float32", "float64")


def test_kernels_that_have_changed_places_are_made_anew(filled, tmp_path):
    folder = tmp_path / "objects"
    shutil.copytree(filled, folder)
    before = set(kernels(folder))
    content = min(before).read_bytes()
    assert run(folder, program=OTHER) == "compiled"
    (other,) = set(kernels(folder)) - before
    other.write_bytes(content)
    other.chmod(0o600)
    assert run(folder, program=OTHER) == "compiled"
    assert run(folder, program=OTHER) == "loaded"


@pytest.mark.skipif(sys.platform != "linux", reason="the loader is for Linux")
def test_the_loader_survives_every_flipped_header_byte(filled):
    """Files are only loaded if their hash is right; this is the second line of defence."""
    name = kernels(filled)[0]
    code = name.read_bytes()[32:]
    symbol = objects.symbol(name.name)
    for at in [*range(64), *range(len(code) - 512, len(code))]:
        loader.load(code[:at] + bytes([code[at] ^ 0xFF]) + code[at + 1 :], symbol)


def test_a_link_is_not_followed(folder, tmp_path):
    cache.write("real", b"content")
    (folder / "real").rename(tmp_path / "elsewhere")
    (folder / "real").symlink_to(tmp_path / "elsewhere")
    assert cache.read("real") is None


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_is_not_read(folder, make):
    cache.write("other", b"")
    make(folder / "name")
    assert cache.read("name") is None


def test_a_file_that_is_replaced_while_it_is_read(folder, monkeypatch):
    cache.write("name", b"old")
    trusted = cache._ours

    def replaced(info):
        if stat.S_ISREG(info.st_mode):
            cache.write("name", b"new")
            monkeypatch.setattr(cache, "_ours", trusted)
        return trusted(info)

    monkeypatch.setattr(cache, "_ours", replaced)
    assert cache.read("name") == b"old"
    assert cache.read("name") == b"new"


# ---------------------------------------------------------------- whom to trust


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o720, 0o777, 0o1777])
def test_nothing_is_taken_from_or_put_into_a_folder_that_others_can_write(folder, mode, caplog):
    cache.write("name", b"content")
    folder.chmod(mode)
    assert cache.read("name") is None
    cache.write("second", b"content")
    assert cache.read("name") is None
    assert not (folder / "second").exists()
    assert len([r for r in caplog.records if "written by others" in r.message]) == 1
    assert cache.refused()


def test_a_folder_that_others_can_write_costs_a_compilation_and_one_line(tmp_path):
    folder = tmp_path / "objects"
    folder.mkdir()
    folder.chmod(0o777)
    out, err = finish(start(folder))
    assert out == "compiled"
    assert err.count("can be written by others") == 1
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o666])
def test_a_file_that_others_can_write_is_not_read(folder, mode, caplog):
    cache.write("name", b"content")
    (folder / "name").chmod(mode)
    assert cache.read("name") is None
    assert "written by others" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator can give files away")
def test_what_belongs_to_somebody_else_is_not_read(folder):
    cache.write("name", b"content")
    os.chown(folder / "name", 12345, -1)
    assert cache.read("name") is None
    os.chown(folder / "name", 0, -1)
    assert cache.read("name") == b"content"
    os.chown(folder, 12345, -1)
    assert cache.read("name") is None


def test_permissions_that_others_merely_read_are_fine(folder):
    cache.write("name", b"content")
    folder.chmod(0o755)
    (folder / "name").chmod(0o644)
    assert cache.read("name") == b"content"


# ---------------------------------------------------------------- folders that cannot be written


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_folder_that_is_read_only(filled):
    """Seen by a user who may read it only, as the administrator's."""
    program = (
        "import os, sys; from caffe2py.kernels import cache; os.setgid(65534); os.setuid(65534)\n"
        "name = sys.argv[1]; cache.write('name', b'x'); print(cache.read('name'), cache.read(name))"
    )
    parents = [p for p in [filled, *filled.parents] if p.stat().st_mode & 0o055 != 0o055]
    modes = {p: p.stat().st_mode for p in parents}
    try:
        for p in parents:
            p.chmod(stat.S_IMODE(p.stat().st_mode) | 0o055)
        done = subprocess.run(
            [sys.executable, "-c", program, "absent"],
            env={**os.environ, "CAFFE2PY_CACHE_DIR": str(filled)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["None", "None"]
    finally:
        for p, mode in modes.items():
            p.chmod(stat.S_IMODE(mode))


@pytest.mark.parametrize("place", ["a file", "below a file", "null device", "no such system"])
def test_a_place_where_there_can_be_no_folder(tmp_path, monkeypatch, place):
    (tmp_path / "file").write_text("")
    places = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "objects",
        "null device": "/dev/null",
        "no such system": "/proc/caffe2py",
    }
    monkeypatch.setenv("CAFFE2PY_CACHE_DIR", str(places[place]))
    cache.write("name", b"content")
    assert cache.read("name") is None


def test_no_home_folder(monkeypatch):
    for name in ("CAFFE2PY_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    cache.write("name", b"content")
    assert cache.read("name") is None


def test_a_disk_that_is_full(folder):
    """The system refuses every write beyond 64 bytes, as a full disk does."""
    cache.write("first", b"")
    program = (
        "import resource, signal; from caffe2py.kernels import cache\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))\n"
        "cache.write('name', b'x' * 1000); assert cache.read('name') is None\n"
        "cache.write('small', b'x'); assert cache.read('small') == b'x'"
    )
    assert resource.RLIM_INFINITY == -1
    subprocess.run([sys.executable, "-c", program], check=True)
    assert sorted(p.name for p in folder.iterdir()) == ["cleared.tmp", "first", "small"]


@pytest.mark.skipif(sys.platform != "linux", reason="a small file system of one's own")
def test_a_file_system_that_is_full(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=8k,mode=700", "tmpfs", str(place)]
    program = (
        "import os, subprocess, sys; from caffe2py.kernels import cache\n"
        f"subprocess.run(['mount', *{options}], check=True)\n"
        "for k in range(9): cache.write(f'{k}', b'x' * 3000)\n"
        "found = [cache.read(f'{k}') for k in range(9)]\n"
        "assert found[0] and found[-1] is None, found\n"
        "assert not [n for n in os.listdir() if n.endswith('.tmp') and n != 'cleared.tmp']"
    )
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-c", program],
        env={**os.environ, "CAFFE2PY_CACHE_DIR": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr or "mount" in done.stderr.partition("Error")[2]:
        pytest.skip("this system lets nobody mount a file system")
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- growth


def age(path, days):
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def names(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != "cleared.tmp")


def test_what_was_not_used_for_longest_goes_first(folder):
    for k in range(6):
        cache.write(str(k), bytes(968))  # 1000 with its hash
        age(folder / str(k), 10 - k)
    assert cache.read("1") is not None  # used now
    cache.prune(4000)
    assert names(folder) == ["1", "3", "4", "5"]
    cache.prune(4000)
    assert len(names(folder)) == 4
    cache.prune(0)
    assert names(folder) == []


def test_the_budget_is_kept_once_a_day(folder, monkeypatch):
    monkeypatch.setenv("CAFFE2PY_CACHE_BYTES", "2500")
    for k in range(5):
        cache.write(str(k), bytes(968))
    assert len(names(folder)) == 5
    age(folder / "cleared.tmp", 2)
    cache.write("5", bytes(968))
    assert len(names(folder)) == 2
    cache.write("6", bytes(968))
    assert len(names(folder)) == 3


def test_a_budget_that_is_no_number(folder, monkeypatch):
    monkeypatch.setenv("CAFFE2PY_CACHE_BYTES", "1G")
    with pytest.raises(UsageError, match="CAFFE2PY_CACHE_BYTES is '1G'"):
        cache.write("name", b"")


def test_what_processes_left_behind_goes_when_it_is_old(folder):
    cache.write("name", b"content")
    for name, days in (("old.tmp", 2), ("new.tmp", 0)):
        (folder / name).write_bytes(b"half")
        age(folder / name, days)
    cache.prune(1 << 20)
    assert names(folder) == ["name", "new.tmp"]


def test_readers_and_a_process_that_clears_away(folder):
    """Whoever reads gets all of a file or none, whatever is deleted meanwhile."""
    program = (
        "from caffe2py.kernels import cache\n"
        "for k in range(300):\n    cache.write(str(k % 7), bytes(5000))\n    cache.prune(9000)"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    seen = set()
    while process.poll() is None:
        for k in range(7):
            seen.add(cache.read(str(k)))
    assert process.returncode == 0
    assert seen <= {None, bytes(5000)}


# ---------------------------------------------------------------- the loader


def test_the_loader_and_llvm_give_the_same(filled):
    """A kernel that is linked by either: same results."""
    from caffe2py.kernels.jit import callable_at

    found = 0
    for path in kernels(filled):
        code = path.read_bytes()[32:]
        ours = loader.load(code, objects.symbol(path.name))
        theirs = objects._link_with_llvm(path.name, code)
        if ours is None:
            continue
        found += 1
        for address in (ours, theirs):
            x, y = np.arange(4, dtype=np.uint32), np.zeros(4, np.uint32)
            block = np.array([x.ctypes.data, 4, y.ctypes.data, 4], np.int64)
            assert callable_at(address)(block.ctypes.data) == 0
            assert (x == y).all()
    assert found or sys.platform != "linux"


def test_hashes_are_of_the_contents(folder):
    cache.write("name", b"content")
    raw = (folder / "name").read_bytes()
    assert raw == hashlib.sha256(b"content").digest() + b"content"
