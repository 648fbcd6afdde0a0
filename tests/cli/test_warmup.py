"""`caffe2py warmup`."""

import json

import pytest

from tests.toy import INIT, PREDICT, net, op


@pytest.fixture
def model(tmp_path, save):
    save("predict_net.pb", PREDICT)
    save("init_net.pb", INIT)
    return tmp_path


def finished(process, *args, **environment):
    child = process(*args, **environment)
    out, err = child.communicate()
    return child.returncode, out, err


def test_the_next_process_compiles_nothing(process, save, tmp_path):
    path, cache = save("x.pb", net(op("Relu", "x", "y"))), tmp_path / "cache"
    args = ("warmup", path, "--input", "x=2x3", "--json")
    counts = []
    for _ in range(2):
        code, out, err = finished(process, *args, CAFFE2PY_CACHE_DIR=str(cache))
        assert (code, err) == (0, "")
        found = json.loads(out)
        counts.append((found["compiled"], found["from_cache"]))
    assert counts[0][0] >= 1
    assert counts[0][1] == 0
    assert counts[1] == (0, counts[0][0])
    assert found["cache"]["folder"] == str(cache)
    assert found["cache"]["kernels"] == counts[0][0]
    assert found["cache"]["bytes"] > 100
    assert found["nets"][0]["net"] == str(path)


def test_text(cli, model):
    result = cli("warmup", model, "--input", "x=3", "--threads", "1")
    assert result.exit_code == 0
    header, row, total, cache = result.stdout.splitlines()
    assert header.split() == ["net", "compiled", "there", "already", "seconds"]
    assert row.split()[0] == str(model)
    assert "kernels compiled" in total
    assert cache.startswith("cache  ")


def test_inputs_are_found_where_layers_tell_them(cli):
    from tests.cli.test_bench import DIGITS

    result = cli("warmup", DIGITS)
    assert (result.exit_code, result.stderr) == (0, "")


def test_without_nets(cli, monkeypatch):
    import caffe2py.cli.warmup as module

    warmed = []
    monkeypatch.setattr(
        module, "_warm", lambda name, *args: warmed.append(name) or module._Warmed(name, 0, 1, 0.5)
    )
    result = cli("warmup")
    assert result.exit_code == 0
    assert warmed[:2] == ["sample of inference", "sample of training"]
    assert {"nets/digits", "nets/resnet50"} <= set(warmed)
    assert f"0 kernels compiled, {len(warmed)} were there already" in result.stdout


def test_refused(failing, model):
    assert "does not tell its shape" in failing(1, "warmup", model)
    assert "are for one NET" in failing(2, "warmup", model, model, "--input", "x=3")
    assert "are for one NET" in failing(2, "warmup", "--init", "x")


def test_a_cache_that_cannot_be_written(process, model, tmp_path):
    (tmp_path / "file").write_text("")
    folder = str(tmp_path / "file" / "cache")
    code, _, err = finished(process, "warmup", model, "--input", "x=3", CAFFE2PY_CACHE_DIR=folder)
    assert code == 5
    assert "kernels could not be kept" in err
